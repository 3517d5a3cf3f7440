// SPDX-License-Identifier: Apache-2.0
// Bound by DRAM: x read once, y written once, and for piecewise linear activations one or two bits a
// sample, which the backward reads instead of x.
//
// Forward: a thread takes a group of consecutive elements, whatever the layout: one 16-byte access; for
// piecewise linear activations 8 elements in every dtype, one byte of each plane of the mask.
//
// Backward, with the sum by channel fused in. A thread takes such groups too, or single elements if
// a channel's run is not a multiple of a group. There are two ways to walk, so that a thread's sums stay in registers:
//   rows     a channel's elements lie in runs of `inner` (contiguous images): a block takes one
//            channel and a slice of its groups, one group a thread and step;
//   columns  inner is 1 (channels_last): a block takes a tile of up to 32 groups of neighbouring
//            channels and a slice of the pixels; a thread keeps to its group of channels.
// A block adds its threads' sums through shared memory and writes one number per channel and slice; a
// second small kernel adds the slices (lib/cuda/reduce.cuh).

#include "bias_act/cuda/bias_act.cuh"

#include <algorithm>

#include "bias_act/cuda/grad_kernel.cuh"
#include "lib/cuda/launch.cuh"
#include "lib/cuda/vec.cuh"

namespace stylegan::bias_act::cuda {
namespace {

template <class S> constexpr int kAccessGroup = kAccess / static_cast<int>(sizeof(S));
template <class S, Act A> constexpr int kForwardGroup = piecewise_linear(A) ? kByte : kAccessGroup<S>;

// v[j] += values[channel of element i + j]
template <int V, class T>
__device__ __forceinline__ void add_channels(Channels c, const T* __restrict__ values, int64_t i, T (&v)[V]) {
  const Quotient row = divide(i, c.inner);
  int64_t channel = divide(row.div, c.channels).mod;
  if (row.mod + V <= c.inner) {
    const T value = values[channel];
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] += value;
  } else {
    int64_t left = c.inner - row.mod;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      v[j] += values[channel];
      if (--left == 0) {
        left = c.inner;
        if (++channel == c.channels) channel = 0;
      }
    }
  }
}

template <class S, Act A>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(Channels c, Arithmetic<S> alpha, Arithmetic<S> gain, Arithmetic<S> clamp, const S* __restrict__ x,
                   const Arithmetic<S>* __restrict__ b, S* __restrict__ y, uint8_t* __restrict__ positive_plane,
                   uint8_t* __restrict__ inside_plane, bool wide) {
  using T = Arithmetic<S>;
  constexpr int V = kForwardGroup<S, A>;
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V;
  const int64_t count = c.size - i;
  if (count <= 0) return;
  T v[V];
  load(x, i, count, wide, v);
  if (b != nullptr) add_channels(c, b, i, v);
  if (piecewise_linear(A) && positive_plane != nullptr) {
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < V; ++j) bits |= (v[j] > 0 ? 1u : 0u) << j;
    positive_plane[i / kByte] = static_cast<uint8_t>(bits);
  }
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] = Activation<A, T>::value(v[j], alpha) * gain;
  if (piecewise_linear(A) && inside_plane != nullptr) {
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < V; ++j) bits |= (inside(v[j], clamp) ? 1u : 0u) << j;
    inside_plane[i / kByte] = static_cast<uint8_t>(bits);
  }
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] = clamped(v[j], clamp);
  store(y, i, count, wide, v);
}

}  // namespace

int64_t partial_size(Channels c) {
  int64_t slices = 0;  // the most over the groups of all dtypes and ops
  for (int group : {1, 2, 4, 8}) slices = std::max(slices, walk_of(c, group).slices);
  return slices == 1 ? 0 : slices * c.channels;
}

void forward(Dtype dtype, ActParams p, Channels c, const void* x, const void* b, void* y, uint8_t* mask,
             cudaStream_t stream) {
  uint8_t* inside_plane = mask != nullptr && has_clamp(p) ? mask + mask_plane_bytes(c.size) : nullptr;
  with_stored(dtype, [&](auto s) {
    with_act(p.act, [&](auto act) {
      using S = decltype(s);
      using T = Arithmetic<S>;
      constexpr int group = kForwardGroup<S, decltype(act)::value>;
      const dim3 grid(static_cast<unsigned>(ceil_div(c.size, kThreads * group)));
      launch(forward_kernel<S, decltype(act)::value>, grid, dim3(kThreads), stream, c, static_cast<T>(p.alpha),
             static_cast<T>(p.gain), static_cast<T>(p.clamp), static_cast<const S*>(x), static_cast<const T*>(b),
             static_cast<S*>(y), mask, inside_plane, aligned(x) && aligned(y));
    });
  });
}

void mask_grad(Dtype dtype, Slopes slopes, bool has_clamp, Channels c, const void* dy, const void* e,
               const uint8_t* mask, void* dx, void* db, void* partial, cudaStream_t stream) {
  with_stored(dtype, [&](auto s) {
    using S = decltype(s);
    using T = Arithmetic<S>;
    const MaskGrad<S> body{static_cast<T>(slopes.negative),
                           static_cast<T>(slopes.positive),
                           static_cast<const S*>(dy),
                           static_cast<const T*>(e),
                           mask,
                           mask != nullptr && has_clamp ? mask + mask_plane_bytes(c.size) : nullptr,
                           static_cast<S*>(dx),
                           aligned(dy) && aligned(dx)};
    run_grad<kByte, T>(c, body, db, partial, stream);
  });
}

void grad(Dtype dtype, ActParams p, Channels c, const void* dy, const void* x, const void* b, void* dx, void* db,
          void* partial, cudaStream_t stream) {
  with_stored(dtype, [&](auto s) {
    with_smooth_act(p.act, [&](auto act) {
      using S = decltype(s);
      using T = Arithmetic<S>;
      const Grad<S, decltype(act)::value> body{static_cast<T>(p.alpha),  static_cast<T>(p.gain),
                                               static_cast<T>(p.clamp),  static_cast<const S*>(dy),
                                               static_cast<const S*>(x), static_cast<const T*>(b),
                                               static_cast<S*>(dx),      aligned(dy) && aligned(x) && aligned(dx)};
      run_grad<kAccessGroup<S>, T>(c, body, db, partial, stream);
    });
  });
}

void grad_grad(Dtype dtype, ActParams p, Channels c, const void* ddx, const void* ddb, const void* dy, const void* x,
               const void* b, void* d_dy, void* d_x, void* d_b, void* partial, cudaStream_t stream) {
  with_stored(dtype, [&](auto s) {
    with_smooth_act(p.act, [&](auto act) {
      using S = decltype(s);
      using T = Arithmetic<S>;
      const GradGrad<S, decltype(act)::value> body{
          static_cast<T>(p.alpha),
          static_cast<T>(p.gain),
          static_cast<T>(p.clamp),
          static_cast<const S*>(ddx),
          static_cast<const T*>(ddb),
          static_cast<const S*>(dy),
          static_cast<const S*>(x),
          static_cast<const T*>(b),
          static_cast<S*>(d_dy),
          static_cast<S*>(d_x),
          aligned(ddx) && aligned(dy) && aligned(x) && aligned(d_dy) && aligned(d_x)};
      run_grad<kAccessGroup<S>, T>(c, body, d_b, partial, stream);
    });
  });
}

}  // namespace stylegan::bias_act::cuda
