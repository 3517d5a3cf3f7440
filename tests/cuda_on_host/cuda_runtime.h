// SPDX-License-Identifier: Apache-2.0
// Stands before CUDA's own cuda_runtime.h, so that a plain C++ compiler takes the very .cu files of
// csrc and they run on the host: fibers.cpp takes one block at a time and each of its threads in a
// fiber. Types come from CUDA's headers, which compile as they are. What is here and in tensor_core.h is
// what csrc uses, and no more; atomics and clusters are not.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include "tensor_core.h"

// All blocks share one copy, one block after another. These variables make up the library's thread-local
// segment, by which memory.cpp finds them to poison them before each block.
#undef __shared__
#define __shared__ static thread_local
#define __launch_bounds__(...)

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace cuda_on_host {

// kernel() once for each thread of each block. Throws std::runtime_error for what CUDA refuses or leaves
// undefined: sizes beyond its limits, a barrier that part of the threads never reach, a shuffle from a
// lane that does not take part, a misaligned access, an index out of an array, a store shortly before or
// after the dynamic shared memory, an access where there is no memory.
void launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);

// The launch's shared_bytes, which hold NaN when a block begins, between guards of NaN.
unsigned char* dynamic_shared();

// Until every thread of the block has arrived or returned.
void barrier(int line);

struct Lanes {
  unsigned present;  // a bit each
  uint64_t value[warpSize];
};

// Until every lane in mask has arrived or returned: what each brought.
Lanes meet(unsigned mask, uint64_t value);

int lane();
[[noreturn]] void fail(const char* what);

template <class T> uint64_t to_bits(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

// The value of lane `source`; of the own lane where that lies outside [first, last].
template <class T> T shuffle(unsigned mask, T value, int source, int first, int last) {
  const Lanes lanes = meet(mask, to_bits(value));
  if (source < first || source > last) return value;
  if (!(lanes.present >> source & 1)) fail("shuffle from a lane that does not take part");
  std::memcpy(&value, &lanes.value[source], sizeof value);
  return value;
}

inline int segment(int width) { return lane() & ~(width - 1); }

}  // namespace cuda_on_host

// The line tells apart barriers that are not the same.
inline void __syncthreads(int line = __builtin_LINE()) { cuda_on_host::barrier(line); }
inline void __syncwarp(unsigned mask = ~0u) { cuda_on_host::meet(mask, 0); }

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
  const int first = cuda_on_host::segment(width);
  return cuda_on_host::shuffle(mask, value, first + (source & (width - 1)), first, first + width - 1);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
  const int first = cuda_on_host::segment(width);
  const int source = cuda_on_host::lane() - static_cast<int>(delta);
  return cuda_on_host::shuffle(mask, value, source, first, first + width - 1);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
  const int first = cuda_on_host::segment(width);
  const int source = cuda_on_host::lane() + static_cast<int>(delta);
  return cuda_on_host::shuffle(mask, value, source, first, first + width - 1);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize) {
  const int last = cuda_on_host::segment(width) + width - 1;  // earlier segments may be read
  return cuda_on_host::shuffle(mask, value, cuda_on_host::lane() ^ bits, 0, last);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const cuda_on_host::Lanes lanes = cuda_on_host::meet(mask, predicate != 0);
  unsigned bits = 0;
  for (int i = 0; i < warpSize; ++i)
    if (lanes.present >> i & 1) bits |= static_cast<unsigned>(lanes.value[i]) << i;
  return bits;
}

template <class T> T __ldg(const T* p) { return *p; }

// As CUDA has them: mixed types, and a number rather than NaN.
template <class A, class B> std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>)
    return std::fmin(static_cast<T>(a), static_cast<T>(b));
  else
    return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B> std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>)
    return std::fmax(static_cast<T>(a), static_cast<T>(b));
  else
    return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
