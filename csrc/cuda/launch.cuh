// SPDX-License-Identifier: Apache-2.0
// The one place where kernels are launched. nvcc: on the stream, with its error checked. A plain C++
// compiler (tests/cuda_on_host): on the host, one block after the other.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace stylegan::cuda {

// kernel<<<grid, block, 0, stream>>>(args...)
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream, Args... args) {
#if defined(__CUDACC__)
  kernel<<<grid, block, 0, stream>>>(args...);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("CUDA kernel launch: ") + cudaGetErrorString(error));
#else
  cuda_on_host::launch(grid, block, [=] { kernel(args...); });
#endif
}

}  // namespace stylegan::cuda
