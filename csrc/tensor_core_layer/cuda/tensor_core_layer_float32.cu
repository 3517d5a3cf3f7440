// SPDX-License-Identifier: Apache-2.0
#include "tensor_core_layer/cuda/gemm.cuh"

namespace stylegan::tensor_core_layer::cuda {

void launch_layer(int variant, const Gemm& g, const DeviceEpilogue<float>& e, const float* x, const float* weight,
                  float* y, dim3 grid, cudaStream_t stream) {
  run_variant<float, kVariants<float> - 1>(variant, g, e, x, weight, y, grid, stream);
}

}  // namespace stylegan::tensor_core_layer::cuda
