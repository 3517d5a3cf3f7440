// SPDX-License-Identifier: Apache-2.0
#include "upfirdn2d/cuda/tiled.cuh"

namespace stylegan::upfirdn2d::cuda {

bool try_tiles(const Fir& fir, const Epilogue* epilogue, const __nv_bfloat16* x, __nv_bfloat16* y,
               cudaStream_t stream) {
  return run_dtype(fir, epilogue, x, y, stream);
}

}  // namespace stylegan::upfirdn2d::cuda
