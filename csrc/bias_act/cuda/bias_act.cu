// SPDX-License-Identifier: Apache-2.0
// Bound by DRAM: x read once, y written once, and for piecewise linear activations one or two bits a
// sample, which the backward reads in place of x.
//
// Forward: a thread takes a group of consecutive elements, whatever the layout: one 16-byte access; for
// piecewise linear activations 8 elements in every dtype, one byte of each plane of the mask.
//
// Backward, with the sum by channel fused in. A thread takes such groups too, or single elements where
// a channel's run is not a multiple of a group. Two ways to walk, so that a thread's sums stay in
// registers:
//   rows     a channel's elements lie in runs of `inner` (contiguous images): a block takes one
//            channel and a slice of its groups, one group a thread and step;
//   columns  inner is 1 (channels_last): a block takes a tile of up to 32 groups of neighbouring
//            channels and a slice of the pixels; a thread keeps to its group of channels.
// A block adds its threads' sums through shared memory and writes one number per channel and slice; a
// second small kernel adds the slices (row_sums.cuh).

#include "bias_act/cuda/bias_act.cuh"

#include <algorithm>

#include "lib/cuda/reduce.cuh"
#include "lib/cuda/vec.cuh"

namespace stylegan::bias_act::cuda {

using namespace stylegan::cuda;  // lib/cuda
namespace {

constexpr int kThreads = 256;          // 8 warps
constexpr int kBlocksPerSM = 2;        // at least; with 3 (80 registers a thread) the smooth second derivatives spill
constexpr int kByte = 8;               // elements in one byte of a mask
constexpr int64_t kStepsPerSlice = 8;  // groups a thread takes before the cost of adding across threads
constexpr int64_t kMostSlices = 1024;  // per channel or tile; beyond that, more steps
constexpr int kTile = 32;              // groups of channels side by side: 512 bytes of a 16-bit dtype

template <class S> constexpr int kAccessGroup = kAccess / static_cast<int>(sizeof(S));
template <class S, Act A> constexpr int kForwardGroup = piecewise_linear(A) ? kByte : kAccessGroup<S>;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

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
    forward_kernel(Channels c, Arithmetic<S> alpha, Arithmetic<S> gain, Arithmetic<S> clamp,
                   const S* __restrict__ x, const Arithmetic<S>* __restrict__ b, S* __restrict__ y,
                   uint8_t* __restrict__ positive_plane, uint8_t* __restrict__ inside_plane, bool wide) {
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

// What a thread does with one group: computes and stores the gradients of elements i .. i + V - 1, and
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
      const T below = negative == 0 ? T(0) : v[j] * negative;  // infinite gradients stop there too
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

// How a backward walks through memory; see the top of the file.
struct Walk {
  int group, width;            // V; columns: groups of channels in a tile, a power of two (rows: 0)
  int64_t tiles, slices, per;  // channels or tiles of them; slices of each; steps of a whole block per slice
};

// group: what a thread takes at a time, if the runs allow.
Walk walk_of(Channels c, int group) {
  const bool columns = c.inner == 1 && c.channels > 1;
  if ((columns ? c.channels : c.inner) % group != 0) group = 1;
  int width = 0;
  int64_t tiles = c.channels, block_steps;
  if (columns) {
    const int64_t groups = c.channels / group;
    for (width = 1; width < kTile && width < groups;) width *= 2;
    tiles = ceil_div(groups, width);
    block_steps = ceil_div(c.size / c.channels, kThreads / width);
  } else {
    block_steps = ceil_div(c.size / c.channels / group, kThreads);
  }
  const int64_t slices = std::clamp<int64_t>(block_steps / kStepsPerSlice, 1, kMostSlices);
  const int64_t per = ceil_div(block_steps, slices);
  return {group, width, tiles, ceil_div(block_steps, per), per};
}

// partial[channel * slices + slice] = sum of a block's v by channel.
template <int V, class T, class Body>
__global__ void __launch_bounds__(kThreads, kBlocksPerSM) grad_kernel(Channels c, Walk walk, Body body, T* __restrict__ partial) {
  __shared__ T shared[V * kThreads];
  const bool rows = walk.width == 0;
  const int t = threadIdx.x, height = rows ? kThreads : kThreads / walk.width;
  const int64_t run = c.inner / V, pixels = c.size / c.channels;
  // The thread's first channel, and its groups of that channel (rows) or pixels (columns).
  const int64_t channel = rows ? blockIdx.x : (static_cast<int64_t>(blockIdx.x) * walk.width + t % walk.width) * V;
  const int64_t slice = blockIdx.y, begin = slice * walk.per * height;
  const int64_t most = rows ? pixels / V : (channel < c.channels ? pixels : 0);
  const int64_t end = min(most, begin + walk.per * height);
  T total[V] = {}, v[V];
  for (int64_t g = begin + (rows ? t : t / walk.width); g < end; g += height) {
    int64_t i = g * c.channels + channel;
    if (rows) {
      const Quotient q = divide(g, run);
      i = (q.div * c.channels + channel) * c.inner + q.mod * V;
    }
    body(i, channel, rows ? 0 : 1, v);
#pragma unroll
    for (int j = 0; j < V; ++j) total[j] += v[j];
  }
  if (partial == nullptr) return;
#pragma unroll
  for (int j = 1; j < V; ++j) {
    if (rows) total[0] += total[j];
    else shared[j * kThreads + t] = total[j];
  }
  shared[t] = total[0];
  const int sums = rows ? 1 : V, width = rows ? 1 : walk.width;
  for (int half = kThreads / 2; half >= width; half /= 2) {
    __syncthreads();
    if (t < half)
      for (int j = 0; j < sums; ++j) shared[j * kThreads + t] += shared[j * kThreads + t + half];
  }
  if (t < width && channel < c.channels)
    for (int j = 0; j < sums; ++j) partial[(channel + j) * walk.slices + slice] = shared[j * kThreads + t];
}

template <int V, class T, class Body>
void run_grad(Channels c, Body body, void* db, void* partial, cudaStream_t stream) {
  const Walk walk = walk_of(c, V);
  const dim3 grid(static_cast<unsigned>(walk.tiles), static_cast<unsigned>(walk.slices));
  // A single slice is the sum already.
  T* sums = static_cast<T*>(db == nullptr || walk.slices == 1 ? db : partial);
  if (walk.group == V)
    launch(grad_kernel<V, T, Body>, grid, dim3(kThreads), stream, c, walk, body, sums);
  else
    launch(grad_kernel<1, T, Body>, grid, dim3(kThreads), stream, c, walk, body, sums);
  if (sums != db)
    add_slices(c.channels, walk.slices, static_cast<const T*>(partial), static_cast<T*>(db), stream);
}

}  // namespace

int64_t partial_size(Channels c) {
  int64_t most = 0;  // over the groups that a dtype or an op may ask for
  for (int group : {1, 2, 4, 8}) most = std::max(most, walk_of(c, group).slices);
  return most == 1 ? 0 : most * c.channels;
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
             static_cast<T>(p.gain), static_cast<T>(p.clamp), static_cast<const S*>(x),
             static_cast<const T*>(b), static_cast<S*>(y), mask, inside_plane, aligned(x) && aligned(y));
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

void grad(Dtype dtype, ActParams p, Channels c, const void* dy, const void* x, const void* b, void* dx,
                   void* db, void* partial, cudaStream_t stream) {
  with_stored(dtype, [&](auto s) {
    with_smooth_act(p.act, [&](auto act) {
      using S = decltype(s);
      using T = Arithmetic<S>;
      const Grad<S, decltype(act)::value> body{static_cast<T>(p.alpha),
                                               static_cast<T>(p.gain),
                                               static_cast<T>(p.clamp),
                                               static_cast<const S*>(dy),
                                               static_cast<const S*>(x),
                                               static_cast<const T*>(b),
                                               static_cast<S*>(dx),
                                               aligned(dy) && aligned(x) && aligned(dx)};
      run_grad<kAccessGroup<S>, T>(c, body, db, partial, stream);
    });
  });
}

void grad_grad(Dtype dtype, ActParams p, Channels c, const void* ddx, const void* ddb, const void* dy,
                        const void* x, const void* b, void* d_dy, void* d_x, void* d_b, void* partial,
                        cudaStream_t stream) {
  with_stored(dtype, [&](auto s) {
    with_smooth_act(p.act, [&](auto act) {
      using S = decltype(s);
      using T = Arithmetic<S>;
      const GradGrad<S, decltype(act)::value> body{
          static_cast<T>(p.alpha),      static_cast<T>(p.gain),     static_cast<T>(p.clamp),    static_cast<const S*>(ddx),
          static_cast<const T*>(ddb),   static_cast<const S*>(dy),  static_cast<const S*>(x),
          static_cast<const T*>(b),     static_cast<S*>(d_dy),      static_cast<S*>(d_x),
          aligned(ddx) && aligned(dy) && aligned(x) && aligned(d_dy) && aligned(d_x)};
      run_grad<kAccessGroup<S>, T>(c, body, d_b, partial, stream);
    });
  });
}

}  // namespace stylegan::bias_act::cuda
