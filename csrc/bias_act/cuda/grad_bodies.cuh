// SPDX-License-Identifier: Apache-2.0
// What a thread of bias_act's backward does with one group of elements.
#pragma once

#include <cuda_runtime.h>

#include "bias_act/params.h"
#include "lib/activation.h"
#include "lib/cuda/vec.cuh"

namespace stylegan::bias_act::cuda {

using namespace stylegan::cuda;  // lib/cuda

namespace {

constexpr int kByte = 8;               // elements in one byte of a mask

// Each body computes and stores the gradients of elements i .. i + V - 1, and
// returns in v what is summed by channel. Per-channel vectors are read at channel + j * step.

template <int V> __device__ __forceinline__ unsigned bits_of(const uint8_t* __restrict__ plane, int64_t i) {
  return V == kByte ? plane[i / kByte] : plane[i / kByte] >> (i % kByte);
}

template <class S> struct MaskGrad {
  using T = Arithmetic<S>;
  T negative, positive;
  const S* dy;
  const T* e;
  const uint8_t *positive_plane, *inside_plane;
  S* dx;
  bool wide;

  template <int V> __device__ __forceinline__ void operator()(int64_t i, int64_t channel, int step, T (&v)[V]) const {
    load(dy, i, V, wide, v);
    if (e != nullptr) {
#pragma unroll
      for (int j = 0; j < V; ++j) v[j] += e[channel + j * step];
    }
    const unsigned above = positive_plane == nullptr ? ~0u : bits_of<V>(positive_plane, i);
    const unsigned within = inside_plane == nullptr ? ~0u : bits_of<V>(inside_plane, i);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const T below = negative == 0 ? T(0) : v[j] * negative;  // an infinite gradient must become 0 too
      const T d = above >> j & 1 ? v[j] * positive : below;
      v[j] = within >> j & 1 ? d : T(0);
    }
    store(dx, i, V, wide, v);
  }
};

template <class S, Act A> struct Grad {
  using T = Arithmetic<S>;
  T alpha, gain, clamp;
  const S *dy, *x;
  const T* b;
  S* dx;
  bool wide;

  template <int V> __device__ __forceinline__ void operator()(int64_t i, int64_t channel, int step, T (&v)[V]) const {
    T u[V];
    load(x, i, V, wide, u);
    load(dy, i, V, wide, v);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      if (b != nullptr) u[j] += b[channel + j * step];
      v[j] = times_slope<A>(v[j], u[j], alpha, gain, clamp);
    }
    store(dx, i, V, wide, v);
  }
};

template <class S, Act A> struct GradGrad {
  using T = Arithmetic<S>;
  T alpha, gain, clamp;
  const S* ddx;
  const T* ddb;
  const S *dy, *x;
  const T* b;
  S *d_dy, *d_x;
  bool wide;

  template <int V> __device__ __forceinline__ void operator()(int64_t i, int64_t channel, int step, T (&v)[V]) const {
    T u[V], w[V];
    load(x, i, V, wide, u);
    load(ddx, i, V, wide, w);
    load(dy, i, V, wide, v);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      if (b != nullptr) u[j] += b[channel + j * step];
      if (ddb != nullptr) w[j] += ddb[channel + j * step];
      v[j] = times_curvature<A>(v[j] * w[j], u[j], alpha, gain, clamp);
      w[j] = times_slope<A>(w[j], u[j], alpha, gain, clamp);
    }
    store(d_x, i, V, wide, v);
    store(d_dy, i, V, wide, w);
  }
};

}  // namespace
}  // namespace stylegan::bias_act::cuda
