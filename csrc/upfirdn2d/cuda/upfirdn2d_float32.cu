// SPDX-License-Identifier: Apache-2.0
#include "upfirdn2d/cuda/tiled.cuh"

namespace stylegan::cuda {

bool upfirdn2d_tiled(const Fir& fir, const FirEpilogue* epilogue, const float* x, float* y, cudaStream_t stream) {
  return run_dtype(fir, epilogue, x, y, stream);
}

}  // namespace stylegan::cuda
