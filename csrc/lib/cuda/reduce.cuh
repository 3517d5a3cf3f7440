// SPDX-License-Identifier: Apache-2.0
// The second half of sums by channel: blocks leave one number per sum and slice of the image, and this adds
// the slices in order. No atomics: the same bits in every run.
#pragma once

#include "lib/cuda/launch.cuh"

namespace stylegan::cuda {

constexpr int kSumThreads = 256;

// sums[row] = sum over slices of partial[row, slice]; one block a row.
template <class T>
__global__ void __launch_bounds__(kSumThreads)
    sum_kernel(int64_t slices, const T* __restrict__ partial, T* __restrict__ sums) {
  __shared__ T shared[kSumThreads];
  const int t = threadIdx.x;
  T total = 0;
  for (int64_t s = t; s < slices; s += kSumThreads) total += partial[blockIdx.x * slices + s];
  shared[t] = total;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) shared[t] += shared[t + half];
  }
  if (t == 0) sums[blockIdx.x] = shared[0];
}

template <class T> void add_slices(int64_t rows, int64_t slices, const T* partial, T* sums, cudaStream_t stream) {
  launch(sum_kernel<T>, dim3(static_cast<unsigned>(rows)), dim3(kSumThreads), stream, slices, partial, sums);
}

}  // namespace stylegan::cuda
