// SPDX-License-Identifier: Apache-2.0
// All kernels are launched here. nvcc: on the stream, with its error checked. A plain C++ compiler
// (tests/cuda_on_host): on the host, one block after the other.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace stylegan::cuda {

// In a kernel: unsigned char name[], as many bytes of shared memory as the launch asks for, aligned to 16.
#if defined(__CUDACC__)
#define STYLEGAN_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#else
#define STYLEGAN_DYNAMIC_SHARED(name) unsigned char* const name = cuda_on_host::dynamic_shared()
#endif

// Bytes; for more, a kernel needs cudaFuncSetAttribute, and the limit depends on the GPU.
constexpr size_t kSharedUnasked = 48 << 10;

#if defined(__CUDACC__)
// Allows as much dynamic shared memory as the GPU has. The limit belongs to the kernel, not to a launch: another thread
// may be about to launch the same kernel with more.
template <class... Parameters> cudaError_t allow_max_shared(void (*kernel)(Parameters...)) {
  int device = 0, bytes = 0;
  cudaFuncAttributes own{};
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&own, kernel);
  if (error != cudaSuccess) return error;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              bytes - static_cast<int>(own.sharedSizeBytes));
}
#endif

// kernel<<<grid, block, shared_bytes, stream>>>(args...)
template <class... Parameters, class... Args>
void launch_shared(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Args... args) {
#if defined(__CUDACC__)
  cudaError_t error = cudaSuccess;
  if (shared_bytes > kSharedUnasked) error = allow_max_shared(kernel);
  if (error == cudaSuccess) kernel<<<grid, block, shared_bytes, stream>>>(args...);
  const cudaError_t last = cudaGetLastError();  // always, or the next launch would report it
  if (error == cudaSuccess) error = last;
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA kernel launch: ") + cudaGetErrorString(error));
#else
  cuda_on_host::launch(grid, block, shared_bytes, [=] { kernel(args...); });
#endif
}

// kernel<<<grid, block, 0, stream>>>(args...)
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream, Args... args) {
  launch_shared(kernel, grid, block, 0, stream, args...);
}

}  // namespace stylegan::cuda
