// SPDX-License-Identifier: Apache-2.0
#include "tensor_core_layer/cuda/gemm.cuh"

namespace stylegan::tensor_core_layer::cuda {

void launch_layer(int variant, const Gemm& g, const DeviceEpilogue<float>& e, const __nv_bfloat16* x,
                  const __nv_bfloat16* weight, __nv_bfloat16* y, dim3 grid, cudaStream_t stream) {
  run_variant<__nv_bfloat16, kVariants<__nv_bfloat16> - 1>(variant, g, e, x, weight, y, grid, stream);
}

}  // namespace stylegan::tensor_core_layer::cuda
