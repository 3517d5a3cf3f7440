// SPDX-License-Identifier: Apache-2.0
#include "filtered_lrelu/cuda/streamed.cuh"

namespace stylegan::cuda {

bool filtered_lrelu_streamed(const FilteredLrelu& f, const float* x, float* y, cudaStream_t stream) {
  return run_streamed(f, x, y, stream);
}

}  // namespace stylegan::cuda
