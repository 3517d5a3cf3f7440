// SPDX-License-Identifier: Apache-2.0
// Bound by DRAM: forward reads x and writes y; backward reads dy and x and writes dx, and all sums are taken
// on the way. A thread takes 8 consecutive elements at a time (one byte of each plane of a mask), or one
// where runs are not multiples of 8. Two ways to walk:
//   columns  channels_last: a block takes a tile of up to 32 groups of channels of one sample and a slice of
//            its pixels; a thread keeps to its group, whose scales, biases and sums stay in registers, and a
//            warp has whole pixels of the tile, whose sum over channels is a few shuffles;
//   rows     contiguous: a block takes one plane and a slice of its groups.
// Blocks leave one number per channel, sample and slice, which lib/cuda/reduce.cuh adds.

#include "scale_act/cuda/scale_act.cuh"

#include <algorithm>

#include "lib/cuda/epilogue.cuh"
#include "lib/cuda/reduce.cuh"

namespace stylegan::scale_act::cuda {

using namespace stylegan::cuda;  // lib/cuda
namespace {

constexpr int kThreads = 256;          // 8 warps
constexpr int kBlocksPerSM = 2;        // at least
constexpr int kGroup = 8;              // elements in one byte of a mask
constexpr int kTile = 32;              // groups of channels side by side, at most: a pixel within a warp
constexpr int64_t kStepsPerSlice = 8;  // groups a thread takes before the cost of adding across threads
constexpr int64_t kMaxSlices = 256;    // of a sample or plane; beyond that, more steps

struct Walk {
  int group, width;            // elements of a group; columns: groups in a tile, a power of two (rows: 1)
  int64_t tiles, slices, per;  // tiles of a sample (rows: planes); slices of each; steps of a block per slice
};

Walk walk_of(const Images& g) {
  const int64_t run = g.channels_last ? g.channels : g.pixels;
  const int group = run % kGroup == 0 ? kGroup : 1;
  int width = 1;
  int64_t tiles = g.channels, steps = ceil_div(g.pixels / group, kThreads);
  if (g.channels_last) {
    while (width < kTile && width < g.channels / group) width *= 2;
    tiles = ceil_div(g.channels / group, width);
    steps = ceil_div(g.pixels, kThreads / width);
  }
  const int64_t slices = std::clamp<int64_t>(steps / kStepsPerSlice, 1, kMaxSlices), per = ceil_div(steps, slices);
  return {group, width, tiles, ceil_div(steps, per), per};
}

// What a block works on, and where each of its threads begins.
struct Place {
  int64_t n, tile, slice;
  int64_t channel;                   // the thread's first
  int64_t first, step, begin, end;   // groups begin, begin + step, ... < end, at element first + group * stride
  int64_t stride;
  bool exists;  // the channel does

  __device__ __forceinline__ Place(const Images& g, const Walk& walk, bool columns, int group) {
    const Quotient slices = divide(blockIdx.x, walk.tiles), samples = divide(slices.div, walk.slices);
    tile = slices.mod, slice = samples.mod, n = samples.div;
    const int t = threadIdx.x;
    step = kThreads / walk.width;
    begin = slice * walk.per * step + t / walk.width;
    channel = columns ? (tile * walk.width + t % walk.width) * group : tile;
    exists = channel < g.channels;
    first = columns ? n * g.pixels * g.channels + channel : (n * g.channels + channel) * g.pixels;
    stride = columns ? g.channels : group;
    end = columns ? g.pixels : g.pixels / group;
  }
};

template <class S, int V, bool kColumns>
__global__ void __launch_bounds__(kThreads, kBlocksPerSM)
    forward_kernel(Images g, Walk walk, DeviceEpilogue<Arithmetic<S>> e, const S* x, S* y, bool wide) {
  using T = Arithmetic<S>;
  const Place at(g, walk, kColumns, V);
  if (!at.exists) return;
  T scale[V], b[V], v[V];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const int64_t c = at.channel + (kColumns ? j : 0);
    scale[j] = e.scale_of(at.n, c, g.channels);
    b[j] = e.b_of(c);
  }
  for (int64_t k = 0; k < walk.per; ++k) {
    const int64_t group = at.begin + k * at.step;
    if (group >= at.end) return;
    const int64_t i = at.first + group * at.stride;
    load(x, i, V, wide, v);
    const T here = kColumns ? e.noise_of(at.n, group, g.pixels) : T(0);
#pragma unroll
    for (int j = 0; j < V; ++j)
      v[j] = v[j] * scale[j] + ((kColumns ? here : e.noise_of(at.n, group * V + j, g.pixels)) + b[j]);
    if constexpr (V == kGroup) {
      e.activate(i, v);
    } else {
      v[0] = e.activated(v[0]);
    }
    store(y, i, V, wide, v);
  }
}

template <class S> struct Grad {
  using T = Arithmetic<S>;
  T negative, positive;
  const uint8_t *positive_plane, *inside_plane;
  const S *dy, *x;
  const T* scale;
  S* dx;
  T *products, *sums, *noise;  // products and sums: [samples, channels, slices]
  bool wide;
};

// v times the slope by the mask, for elements i .. i + V - 1.
template <class S, int V>
__device__ __forceinline__ void times_slope(const Grad<S>& a, int64_t i, Arithmetic<S> (&v)[V]) {
  using T = Arithmetic<S>;
  if constexpr (V == kGroup) {
    const unsigned above = a.positive_plane == nullptr ? ~0u : a.positive_plane[i / kGroup];
    const unsigned within = a.inside_plane == nullptr ? ~0u : a.inside_plane[i / kGroup];
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const T below = a.negative == 0 ? T(0) : v[j] * a.negative;  // an infinite gradient must become 0 too
      const T d = above >> j & 1 ? v[j] * a.positive : below;
      v[j] = within >> j & 1 ? d : T(0);
    }
  } else {
    v[0] *= a.positive;
  }
}

template <class S, int V, bool kColumns>
__global__ void __launch_bounds__(kThreads, kBlocksPerSM) grad_kernel(Images g, Walk walk, Grad<S> a) {
  using T = Arithmetic<S>;
  __shared__ T shared[2][V * kThreads];
  const Place at(g, walk, kColumns, V);
  const int t = threadIdx.x;
  T scale[V], product[V] = {}, sum[V] = {}, v[V], u[V];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const int64_t c = at.channel + (kColumns ? j : 0);
    scale[j] = a.scale != nullptr && at.exists ? a.scale[at.n * g.channels + c] : T(1);
  }
  for (int64_t k = 0; k < walk.per; ++k) {  // as many for all threads of a warp, which add across it
    const int64_t group = at.begin + k * at.step, i = at.first + group * at.stride;
    T total = 0;
    if (at.exists && group < at.end) {
      load(a.dy, i, V, a.wide, v);
      times_slope(a, i, v);
      if (a.products != nullptr) {
        load(a.x, i, V, a.wide, u);
#pragma unroll
        for (int j = 0; j < V; ++j) product[j] += v[j] * u[j];
      }
#pragma unroll
      for (int j = 0; j < V; ++j) {
        sum[j] += v[j];
        total += v[j];
        v[j] *= scale[j];
      }
      store(a.dx, i, V, a.wide, v);
    }
    if (kColumns && a.noise != nullptr) {
      for (int lanes = walk.width / 2; lanes > 0; lanes /= 2) total += __shfl_xor_sync(~0u, total, lanes);
      if (t % walk.width == 0 && group < at.end) a.noise[(at.tile * g.samples + at.n) * g.pixels + group] = total;
    }
  }
  if (a.products == nullptr && a.sums == nullptr) return;
#pragma unroll
  for (int j = 0; j < V; ++j) {
    if (kColumns)
      shared[0][j * kThreads + t] = product[j], shared[1][j * kThreads + t] = sum[j];
    else if (j > 0)
      product[0] += product[j], sum[0] += sum[j];
  }
  if (!kColumns) shared[0][t] = product[0], shared[1][t] = sum[0];
  const int rows = kColumns ? V : 1;
  for (int half = kThreads / 2; half >= walk.width; half /= 2) {
    __syncthreads();
    if (t < half)
      for (int j = 0; j < rows; ++j) {
        shared[0][j * kThreads + t] += shared[0][j * kThreads + t + half];
        shared[1][j * kThreads + t] += shared[1][j * kThreads + t + half];
      }
  }
  if (t >= walk.width || !at.exists) return;
  for (int j = 0; j < rows; ++j) {
    const int64_t row = (at.n * g.channels + at.channel + j) * walk.slices + at.slice;
    if (a.products != nullptr) a.products[row] = shared[0][j * kThreads + t];
    if (a.sums != nullptr) a.sums[row] = shared[1][j * kThreads + t];
  }
}

dim3 grid_of(const Images& g, const Walk& walk) {
  return dim3(static_cast<unsigned>(walk.tiles * walk.slices * g.samples));
}

// f(V, kColumns) as constants.
template <class F> void with_walk(const Images& g, const Walk& walk, F&& f) {
  using One = std::integral_constant<int, 1>;
  using Eight = std::integral_constant<int, kGroup>;
  if (walk.group == kGroup) {
    g.channels_last ? f(Eight(), std::true_type()) : f(Eight(), std::false_type());
  } else {
    g.channels_last ? f(One(), std::true_type()) : f(One(), std::false_type());
  }
}

}  // namespace

int64_t noise_parts(const Images& g) { return walk_of(g).tiles; }

int64_t partial_size(const Images& g) {
  const Walk walk = walk_of(g);
  return walk.slices == 1 ? 0 : 2 * g.samples * g.channels * walk.slices;
}

void forward(Dtype dtype, const Images& g, const Epilogue& epilogue, const void* x, void* y, cudaStream_t stream) {
  const Walk walk = walk_of(g);
  with_stored(dtype, [&](auto s) {
    with_walk(g, walk, [&](auto group, auto columns) {
      using S = decltype(s);
      const DeviceEpilogue<Arithmetic<S>> e(epilogue, g.samples * g.channels * g.pixels);
      launch(forward_kernel<S, decltype(group)::value, decltype(columns)::value>, grid_of(g, walk), dim3(kThreads),
             stream, g, walk, e, static_cast<const S*>(x), static_cast<S*>(y), aligned(x) && aligned(y));
    });
  });
}

void grad(Dtype dtype, const Images& g, const GradParams& a, const void* dy, void* dx, void* partial,
          cudaStream_t stream) {
  const Walk walk = walk_of(g);
  with_stored(dtype, [&](auto s) {
    using S = decltype(s);
    using T = Arithmetic<S>;
    const int64_t rows = g.samples * g.channels, plane = mask_plane_bytes(rows * g.pixels);
    T* const workspace = static_cast<T*>(partial);
    const bool whole = walk.slices == 1;  // with a single slice, its sum is the result
    const bool wide = aligned(dy) && aligned(dx) && (a.products == nullptr || aligned(a.x));
    const Grad<S> body{static_cast<T>(a.slopes.negative),
                       static_cast<T>(a.slopes.positive),
                       a.mask,
                       a.mask != nullptr && a.has_clamp ? a.mask + plane : nullptr,
                       static_cast<const S*>(dy),
                       static_cast<const S*>(a.x),
                       static_cast<const T*>(a.scale),
                       static_cast<S*>(dx),
                       a.products == nullptr || whole ? static_cast<T*>(a.products) : workspace,
                       a.sums == nullptr || whole ? static_cast<T*>(a.sums) : workspace + rows * walk.slices,
                       static_cast<T*>(a.noise),
                       wide};
    with_walk(g, walk, [&](auto group, auto columns) {
      launch(grad_kernel<S, decltype(group)::value, decltype(columns)::value>, grid_of(g, walk), dim3(kThreads), stream,
             g, walk, body);
    });
    if (whole) return;
    if (a.products != nullptr) add_slices(rows, walk.slices, body.products, static_cast<T*>(a.products), stream);
    if (a.sums != nullptr) add_slices(rows, walk.slices, body.sums, static_cast<T*>(a.sums), stream);
  });
}

}  // namespace stylegan::scale_act::cuda
