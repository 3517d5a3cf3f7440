// SPDX-License-Identifier: Apache-2.0
// Stored dtypes, and groups of consecutive elements moved in 16-byte accesses.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "lib/dtype.h"

namespace stylegan::cuda {

// Arithmetic<S>: float, or double for double.
template <class S> struct ArithmeticOf {
  using type = float;
};
template <> struct ArithmeticOf<double> {
  using type = double;
};
template <class S> using Arithmetic = typename ArithmeticOf<S>::type;

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ float widen(__half x) { return __half2float(x); }
__device__ __forceinline__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class S> __device__ __forceinline__ S narrow(Arithmetic<S> x) { return x; }
template <> __device__ __forceinline__ __half narrow<__half>(float x) { return __float2half_rn(x); }
template <> __device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }

constexpr int kAccess = 16;  // bytes: the widest load or store of a thread

// V elements, V * sizeof(S) a multiple of 16 bytes.
template <class S, int V> union Pack {
  static constexpr int kAccesses = V * static_cast<int>(sizeof(S)) / kAccess;
  uint4 words[kAccesses];
  S values[V];
  __device__ Pack() {}
};

// Whether p may be accessed 16 bytes at a time.
inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % kAccess == 0; }

// V elements from position i on. `count` of them exist (or all, if it is more than V), the others
// become 0. wide: p is aligned, and i a multiple of V.
template <int V, class S>
__device__ __forceinline__ void load(const S* __restrict__ p, int64_t i, int64_t count, bool wide,
                                     Arithmetic<S> (&v)[V]) {
  if constexpr (V * sizeof(S) % kAccess == 0) {
    if (wide && count >= V) {
      Pack<S, V> pack;
#pragma unroll
      for (int a = 0; a < Pack<S, V>::kAccesses; ++a) pack.words[a] = reinterpret_cast<const uint4*>(p + i)[a];
#pragma unroll
      for (int j = 0; j < V; ++j) v[j] = widen(pack.values[j]);
      return;
    }
  }
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] = j < count ? widen(p[i + j]) : Arithmetic<S>(0);
}

template <int V, class S>
__device__ __forceinline__ void store(S* __restrict__ p, int64_t i, int64_t count, bool wide,
                                      const Arithmetic<S> (&v)[V]) {
  if constexpr (V * sizeof(S) % kAccess == 0) {
    if (wide && count >= V) {
      Pack<S, V> pack;
#pragma unroll
      for (int j = 0; j < V; ++j) pack.values[j] = narrow<S>(v[j]);
#pragma unroll
      for (int a = 0; a < Pack<S, V>::kAccesses; ++a) reinterpret_cast<uint4*>(p + i)[a] = pack.words[a];
      return;
    }
  }
#pragma unroll
  for (int j = 0; j < V; ++j)
    if (j < count) p[i + j] = narrow<S>(v[j]);
}

// a / b and a % b in 32 bits where they suffice, which is four times cheaper.
struct Quotient {
  int64_t div, mod;
};
__device__ __forceinline__ Quotient divide(int64_t a, int64_t b) {
  if ((static_cast<uint64_t>(a) | static_cast<uint64_t>(b)) >> 32 == 0) {
    const uint32_t q = static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
    return {q, a - static_cast<int64_t>(q) * b};
  }
  const int64_t q = a / b;
  return {q, a - q * b};
}

// f(S()) with the stored type of a dtype.
template <class F> void with_stored(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::float16: return f(__half());
    case Dtype::bfloat16: return f(__nv_bfloat16());
    case Dtype::float32: return f(float());
    case Dtype::float64: return f(double());
  }
}

}  // namespace stylegan::cuda
