// SPDX-License-Identifier: Apache-2.0
#include "filtered_lrelu/cuda/streamed.cuh"

namespace stylegan::filtered_lrelu::cuda {

bool try_stream(const Params& f, const __half* x, __half* y, cudaStream_t stream) {
  return run_streamed(f, x, y, stream);
}

}  // namespace stylegan::filtered_lrelu::cuda
