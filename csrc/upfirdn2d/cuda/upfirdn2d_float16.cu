// SPDX-License-Identifier: Apache-2.0
#include "upfirdn2d/cuda/tiled.cuh"

namespace stylegan::upfirdn2d::cuda {

bool try_tiles(const Fir& fir, const Epilogue* epilogue, const __half* x, __half* y, cudaStream_t stream) {
  return run_dtype(fir, epilogue, x, y, stream);
}

}  // namespace stylegan::upfirdn2d::cuda
