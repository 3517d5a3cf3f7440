// SPDX-License-Identifier: Apache-2.0
// Kernels with one fault each, to see that the harness finds it, and some without.
#include <cuda_runtime.h>

#include "lib/cuda/launch.cuh"
#include "entry.h"

namespace {

constexpr int kThreads = 64;

// y[i + shift] = x[i] for i < count
__global__ void copy(int count, int shift, const float* x, float* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) y[i + shift] = x[i];
}

// Reads x[i + shift], and may make nothing of it: y[i] = x[i].
__global__ void peek(int shift, bool use, const float* x, float* y) {
  const int i = static_cast<int>(threadIdx.x);
  const volatile float value = x[i + shift];
  y[i] = use ? value : x[i];
}

__global__ void copy_wide(const float* x, float* y) {
  reinterpret_cast<uint4*>(y)[threadIdx.x] = reinterpret_cast<const uint4*>(x)[threadIdx.x];
}

// y[i] = x[n - 1 - i] in blocks, through shared memory.
__global__ void reverse(bool wait, int beyond, const float* x, float* y) {
  __shared__ float shared[kThreads];
  const int t = static_cast<int>(threadIdx.x), base = static_cast<int>(blockIdx.x) * kThreads;
  shared[t + beyond] = x[base + t];
  if (wait) __syncthreads();
  y[base + t] = shared[kThreads - 1 - t];
}

// The same with dynamic shared memory, of which `skip` threads write nothing.
__global__ void reverse_dynamic(int skip, int beyond, const float* x, float* y) {
  STYLEGAN_DYNAMIC_SHARED(bytes);
  float* shared = reinterpret_cast<float*>(bytes);
  const int t = static_cast<int>(threadIdx.x), base = static_cast<int>(blockIdx.x) * kThreads;
  if (t >= skip) shared[t + beyond] = x[base + t];
  __syncthreads();
  y[base + t] = shared[kThreads - 1 - t];
}

// A float at an odd address.
__global__ void misaligned_dynamic() {
  STYLEGAN_DYNAMIC_SHARED(bytes);
  *reinterpret_cast<float*>(bytes + 1) = 1;
}

__global__ void part_waits(int arrive, bool others_return) {
  if (static_cast<int>(threadIdx.x) < arrive)
    __syncthreads();
  else if (!others_return)
    __syncwarp();
  if (!others_return) __syncthreads();
}

__global__ void two_barriers() {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

// Sum of each warp in every lane; prefix sums; and lane 0's value.
__global__ void warp_sums(const float* x, float* sums, float* prefix, float* first, unsigned* odd) {
  const int t = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x), lane = t % 32;
  float sum = x[t], before = x[t];
  for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(~0u, sum, bits);
  for (unsigned delta = 1; delta < 32; delta *= 2) {
    const float other = __shfl_up_sync(~0u, before, delta);
    if (lane >= static_cast<int>(delta)) before += other;
  }
  sums[t] = sum;
  prefix[t] = before;
  first[t] = __shfl_sync(~0u, x[t], 0);
  odd[t] = __ballot_sync(~0u, t & 1);
}

__global__ void half_warp(const float* x, float* y) {
  const int t = static_cast<int>(threadIdx.x);
  y[t] = 0;
  if (t < 16)
    y[t] = __shfl_down_sync(0xFFFFu, x[t], 8, 16);
  else
    y[t] = __shfl_sync(0xFFFF0000u, x[t], 3, 16);
}

__global__ void stranger(const float* x, float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xFFFFu, x[threadIdx.x], 20);
}

__global__ void nothing() {}

}  // namespace

using stylegan::cuda::launch;
using stylegan::cuda::launch_shared;

ENTRY const char* run_copy(int count, int shift, const float* x, float* y) {
  const dim3 grid(count / kThreads + 1);
  return message([&] { launch(copy, grid, dim3(kThreads), nullptr, count, shift, x, y); });
}
ENTRY const char* run_peek(int count, int shift, int use, const float* x, float* y) {
  return message([&] { launch(peek, dim3(1), dim3(count), nullptr, shift, use != 0, x, y); });
}
ENTRY const char* run_copy_wide(int count, const float* x, float* y) {
  return message([&] { launch(copy_wide, dim3(1), dim3(count / 4), nullptr, x, y); });
}
ENTRY const char* run_reverse(int count, int wait, int beyond, const float* x, float* y) {
  const dim3 grid(count / kThreads);
  return message([&] { launch(reverse, grid, dim3(kThreads), nullptr, wait != 0, beyond, x, y); });
}
ENTRY const char* run_reverse_dynamic(int count, int bytes, int skip, int beyond, const float* x, float* y) {
  const dim3 grid(count / kThreads);
  return message([&] { launch_shared(reverse_dynamic, grid, dim3(kThreads), bytes, nullptr, skip, beyond, x, y); });
}
ENTRY const char* run_misaligned_dynamic() {
  return message([&] { launch_shared(misaligned_dynamic, dim3(1), dim3(1), 16, nullptr); });
}
ENTRY const char* run_part_waits(int arrive, int others_return) {
  return message([&] { launch(part_waits, dim3(2), dim3(kThreads), nullptr, arrive, others_return != 0); });
}
ENTRY const char* run_two_barriers() {
  return message([&] { launch(two_barriers, dim3(1), dim3(kThreads), nullptr); });
}
ENTRY const char* run_warp_sums(const float* x, float* sums, float* prefix, float* first, unsigned* odd) {
  return message([&] { launch(warp_sums, dim3(1), dim3(8, 8), nullptr, x, sums, prefix, first, odd); });
}
ENTRY const char* run_half_warp(const float* x, float* y) {
  return message([&] { launch(half_warp, dim3(1), dim3(32), nullptr, x, y); });
}
ENTRY const char* run_stranger(const float* x, float* y) {
  return message([&] { launch(stranger, dim3(1), dim3(32), nullptr, x, y); });
}
ENTRY const char* run_nothing(int grid_x, int grid_y, int block_x, int shared_bytes) {
  const dim3 grid(grid_x, grid_y), block(block_x);
  return message([&] { launch_shared(nothing, grid, block, shared_bytes, nullptr); });
}
