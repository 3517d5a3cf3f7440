// SPDX-License-Identifier: Apache-2.0
// Tiling: a block makes a tile of y, up to 64 x 32 pixels of one plane, or 8 x 16 pixels of 32 channels for
// channels_last. In three steps, all on floats in shared memory:
//   load     the samples that the tile needs, with a halo, 16 bytes an access, zeros outside the image;
//   filter   neighbouring threads take neighbouring columns (channels_last: channels), each some rows below
//            each other, so that accesses do not conflict and a sample serves several rows. A separable
//            filter goes along the rows into a second tile and then down the columns;
//   store    the sums, laid out once more in shared memory: 16 bytes an access, with the epilogue.
// With `up` a thread takes only the taps that meet a sample: which, depends on its column, and for its rows
// is known beforehand, as tiles begin at a row whose first tap meets one.
//
// Bound by DRAM: x is read once, but for the halo, which is in L2, and y is written once. On an H100 in
// float16 DRAM leaves room for about 34 instructions of a thread per element of y; a 4 x 4 filter takes 16
// for its sum and about 14 for the rest, 12 + 12 taps about 50.
#pragma once

#include <algorithm>

#include "lib/cuda/epilogue.cuh"
#include "lib/cuda/launch.cuh"

namespace stylegan::upfirdn2d::cuda {

using namespace stylegan::cuda;  // lib/cuda

enum class Taps { four, any, separable };  // 4 x 4 in registers; 2-D; one 1-D filter for both axes

constexpr int kTileThreads = 256;
constexpr int kTileBlocks = 4;               // of an SM: 64 registers a thread; without the bound ptxas spills some
constexpr int kWarp = 32;
constexpr int kMostTaps = 24;               // along an axis; more take the general kernel
constexpr int kGroup = 8;                   // elements that are stored at a time: one byte of a mask
constexpr int kLoadsAtOnce = 4;             // accesses that a thread has under way
constexpr int kSharedPreferred = 32 << 10;  // bytes of a block: so that three fit in the smallest SM (sm_120)
constexpr int64_t kMostCoordinate = 1 << 29;  // sums of three fit in 32 bits
constexpr int64_t kMostPlanes = 65535;      // of a grid; a block takes several where there are more

// Rows of a thread: 4 x 4 taps in registers leave room for more of them.
template <int UP, int DOWN, Taps K> constexpr int kRows = K == Taps::four && DOWN == 1 ? 8 : 4;

// One tile, and where things are. An image is rows of `unit` neighbouring elements: 1 (contiguous), all
// channels (channels_last with fewer than 8), or a block of 8, 16 or 32 channels (`blocked`).
struct Tile {
  int in_w, in_h, out_w, out_h, origin_x, origin_y, kw, kh;
  int planes, channels;         // planes: samples, times channels for contiguous
  int unit, pixel;              // elements between pixels in memory: channels where blocked, else unit
  bool blocked, channels_last;
  int width, height;            // of the tile, pixels of y
  int in_rows, run;             // of the tile, samples; elements in a row of them
  int shift;                    // of the rows of tiles, so that a tile begins with a tap that meets a sample
  int tiles_x, tiles_y, blocks; // of a plane; blocks of channels
  bool wide_in, grouped, wide_out;
  int tile_at, rows_at, out_at, floats;  // in shared memory
  const float* f;
  bool flip;
  float gain;

  __host__ __device__ int columns() const { return width * unit; }
};

// Taps in the order of correlation, the gain in those of y.
template <Taps K> __device__ __forceinline__ void stage_taps(const Tile& p, float* taps) {
  const int count = K == Taps::separable ? p.kw + p.kh : p.kw * p.kh;
  for (int i = threadIdx.x; i < count; i += kTileThreads) {
    int at = i;
    if (K == Taps::separable) {
      const int k = i < p.kw ? i : i - p.kw;
      at = p.flip ? k : p.kw - 1 - k;
    } else if (!p.flip) {
      at = count - 1 - i;
    }
    const float v = p.f == nullptr ? 1.0f : p.f[at];
    taps[i] = K == Taps::separable && i < p.kw ? v : v * p.gain;
  }
}

// tile[row * run + e] = element first + e of row top + row of x, or 0. first: of a row of the plane in
// memory, or, where blocked, the pixel with which each row begins.
template <class S>
__device__ __forceinline__ void load_tile(const Tile& p, const S* __restrict__ x, int top, int first, int c0, float* tile) {
  constexpr int V = kAccess / static_cast<int>(sizeof(S));
  const int64_t row_elements = static_cast<int64_t>(p.in_w) * p.pixel;
  // Where element e of a row lies, or -1.
  auto place = [&](int row, int e) -> int64_t {
    const int y = top + row;
    if (y < 0 || y >= p.in_h) return -1;
    if (p.blocked) {
      const int column = first + e / p.unit, channel = c0 + e % p.unit;
      if (column < 0 || column >= p.in_w || channel >= p.channels) return -1;
      return y * row_elements + static_cast<int64_t>(column) * p.pixel + channel;
    }
    const int at = first + e;
    return at < 0 || at >= row_elements ? -1 : y * row_elements + at;
  };
  if (p.wide_in) {
    const int per_row = p.run / V, groups = p.in_rows * per_row;
    for (int g0 = threadIdx.x; g0 < groups; g0 += kLoadsAtOnce * kTileThreads) {
      uint4 words[kLoadsAtOnce];
#pragma unroll
      for (int a = 0; a < kLoadsAtOnce; ++a) {
        const int g = g0 + a * kTileThreads, row = g / per_row;
        const int64_t at = g < groups ? place(row, (g - row * per_row) * V) : -1;
        words[a] = at < 0 ? uint4{0, 0, 0, 0} : *reinterpret_cast<const uint4*>(x + at);
      }
#pragma unroll
      for (int a = 0; a < kLoadsAtOnce; ++a) {
        const int g = g0 + a * kTileThreads;
        if (g >= groups) break;
        Pack<S, V> pack;
        pack.words[0] = words[a];
#pragma unroll
        for (int j = 0; j < V; j += 4)
          *reinterpret_cast<float4*>(tile + g * V + j) =
              float4{widen(pack.values[j]), widen(pack.values[j + 1]), widen(pack.values[j + 2]), widen(pack.values[j + 3])};
      }
    }
  } else {
    const int lane = threadIdx.x % kWarp;
    for (int row = threadIdx.x / kWarp; row < p.in_rows; row += kTileThreads / kWarp)
      for (int e0 = lane; e0 < p.run; e0 += kLoadsAtOnce * kWarp) {
        float v[kLoadsAtOnce];
#pragma unroll
        for (int a = 0; a < kLoadsAtOnce; ++a) {
          const int e = e0 + a * kWarp;
          const int64_t at = e < p.run ? place(row, e) : -1;
          v[a] = at < 0 ? 0.0f : widen(x[at]);
        }
#pragma unroll
        for (int a = 0; a < kLoadsAtOnce; ++a)
          if (e0 + a * kWarp < p.run) tile[row * p.run + e0 + a * kWarp] = v[a];
      }
  }
}

// Row r of a thread meets sample row (r * DOWN + k) / UP of its own with tap k, first_row_tap(r) being the
// first that does.
template <int UP, int DOWN> __device__ constexpr int first_row_tap(int r) { return (UP - r * DOWN % UP) % UP; }

// The column of y that element j of a row of the tile belongs to, and what it begins with in x.
struct Column {
  int tap, at;  // first tap, and its element in a row of the tile
};
template <int UP, int DOWN> __device__ __forceinline__ Column column_of(const Tile& p, int x0, int first, int j) {
  const int column = j / p.unit, from = (x0 + column) * DOWN - p.origin_x;
  const int sample = from >= 0 ? (from + UP - 1) / UP : -(-from / UP);
  const int begin = p.blocked ? (sample - first) * p.unit : sample * p.unit - first;
  return {sample * UP - from, begin + j - column * p.unit};
}

// 2-D filters: out[row * columns + j] = the sum.
template <int UP, int DOWN, Taps K>
__device__ __forceinline__ void filter_tile(const Tile& p, int x0, int first, const float* taps, const float* tile, float* out) {
  constexpr int R = kRows<UP, DOWN, K>;
  const int columns = p.columns(), items = columns * (p.height / R);
  for (int item = threadIdx.x; item < items; item += kTileThreads) {
    const int strip = item / columns, j = item - strip * columns;
    const Column c = column_of<UP, DOWN>(p, x0, first, j);
    const float* base = tile + strip * (R * DOWN / UP) * p.run + c.at;
    float sum[R] = {};
    if constexpr (K == Taps::four) {
      constexpr int T = 4 / UP, I = ((R - 1) * DOWN + 3) / UP + 1;
      float g[4][T];
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int t = 0; t < T; ++t) g[k][t] = taps[k * 4 + c.tap + t * UP];
#pragma unroll
      for (int i = 0; i < I; ++i)
#pragma unroll
        for (int t = 0; t < T; ++t) {
          const float v = base[i * p.run + t * p.unit];
#pragma unroll
          for (int r = 0; r < R; ++r)
            if (const int k = i * UP - r * DOWN; 0 <= k && k < 4) sum[r] += g[k][t] * v;
        }
    } else {
      for (int k0 = 0; k0 < p.kh; k0 += UP)
        for (int k = c.tap, at = 0; k < p.kw; k += UP, at += p.unit)
#pragma unroll
          for (int r = 0; r < R; ++r)
            if (const int ky = k0 + first_row_tap<UP, DOWN>(r); ky < p.kh)
              sum[r] += taps[ky * p.kw + k] * base[(r * DOWN + ky) / UP * p.run + at];
    }
#pragma unroll
    for (int r = 0; r < R; ++r) out[(strip * R + r) * columns + j] = sum[r];
  }
}

// Separable filters, first half: rows[row * columns + j] = the sum along the row.
template <int UP, int DOWN>
__device__ __forceinline__ void filter_rows(const Tile& p, int x0, int first, const float* taps, const float* tile, float* rows) {
  constexpr int R = 4;
  const int columns = p.columns(), items = columns * ((p.in_rows + R - 1) / R);
  for (int item = threadIdx.x; item < items; item += kTileThreads) {
    const int strip = item / columns, j = item - strip * columns;
    const Column c = column_of<UP, DOWN>(p, x0, first, j);
    float sum[R] = {};
    int at[R];  // a row beyond the last is the last once more
#pragma unroll
    for (int r = 0; r < R; ++r) at[r] = min(strip * R + r, p.in_rows - 1) * p.run + c.at;
    for (int k = c.tap, along = 0; k < p.kw; k += UP, along += p.unit) {
      const float g = taps[k];
#pragma unroll
      for (int r = 0; r < R; ++r) sum[r] += g * tile[at[r] + along];
    }
#pragma unroll
    for (int r = 0; r < R; ++r)
      if (strip * R + r < p.in_rows) rows[(strip * R + r) * columns + j] = sum[r];
  }
}

// Second half: down the columns.
template <int UP, int DOWN>
__device__ __forceinline__ void filter_columns(const Tile& p, const float* taps, const float* rows, float* out) {
  constexpr int R = 4;
  const int columns = p.columns(), items = columns * (p.height / R);
  for (int item = threadIdx.x; item < items; item += kTileThreads) {
    const int strip = item / columns, j = item - strip * columns;
    const float* base = rows + strip * (R * DOWN / UP) * columns + j;
    float sum[R] = {};
    for (int k0 = 0; k0 < p.kh; k0 += UP)
#pragma unroll
      for (int r = 0; r < R; ++r)
        if (const int k = k0 + first_row_tap<UP, DOWN>(r); k < p.kh)
          sum[r] += taps[k] * base[(r * DOWN + k) / UP * columns];
#pragma unroll
    for (int r = 0; r < R; ++r) out[(strip * R + r) * columns + j] = sum[r];
  }
}

// The tile at (x0, y0) of y, channels from c0 on.
template <bool kEpilogue, class S>
__device__ __forceinline__ void store_tile(const Tile& p, const DeviceEpilogue<float>& e, int plane, int x0, int y0, int c0,
                                           const float* tile, S* __restrict__ y) {
  const int columns = p.columns();
  const int64_t row_elements = static_cast<int64_t>(p.out_w) * p.pixel, pixels = static_cast<int64_t>(p.out_w) * p.out_h;
  const int n = p.channels_last ? plane : plane / p.channels, c = p.channels_last ? c0 : plane - n * p.channels;
  if (p.grouped) {
    const int per_row = columns / kGroup, groups = p.height * per_row;
    // A thread keeps to its channels: 256 is a multiple of the groups in a block of them.
    float scale[kGroup], b[kGroup];
    if constexpr (kEpilogue) {
      const int mine = p.blocked ? c + threadIdx.x * kGroup % p.unit : c;
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        const int channel = min(p.blocked ? mine + i : mine, p.channels - 1);
        scale[i] = e.scale_of(n, channel, p.channels);
        b[i] = e.b_of(channel);
      }
    }
    for (int g = threadIdx.x; g < groups; g += kTileThreads) {
      const int row = g / per_row, j = (g - row * per_row) * kGroup, oy = y0 + row;
      const int column = p.blocked ? j / p.unit : j, u = p.blocked ? j % p.unit : 0;
      // Whole groups exist or do not: see Tile.grouped.
      const bool beyond = p.blocked ? x0 + column >= p.out_w || c + u >= p.channels : x0 * p.unit + j >= row_elements;
      if (oy < 0 || oy >= p.out_h || beyond) continue;
      const int64_t at = oy * row_elements + (p.blocked ? static_cast<int64_t>(x0 + column) * p.pixel + c + u : x0 * p.unit + j);
      float v[kGroup];
#pragma unroll
      for (int i = 0; i < kGroup; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(tile + row * columns + j + i);
        v[i] = four.x, v[i + 1] = four.y, v[i + 2] = four.z, v[i + 3] = four.w;
      }
      const int64_t i0 = static_cast<int64_t>(plane) * p.out_h * row_elements + at;
      if constexpr (kEpilogue) {
        const int64_t pixel = static_cast<int64_t>(oy) * p.out_w + x0 + column;
        const float here = p.blocked ? e.noise_of(n, pixel, pixels) : 0;
#pragma unroll
        for (int i = 0; i < kGroup; ++i)
          v[i] = v[i] * scale[i] + ((p.blocked ? here : e.noise_of(n, pixel + i, pixels)) + b[i]);
        e.activate(i0, v);
      }
      store(y, i0, kGroup, p.wide_out, v);
    }
  } else {
    const int lane = threadIdx.x % kWarp;
    for (int row = threadIdx.x / kWarp; row < p.height; row += kTileThreads / kWarp) {
      const int oy = y0 + row;
      if (oy < 0 || oy >= p.out_h) continue;
      for (int j = lane; j < columns; j += kWarp) {
        const int column = j / p.unit, u = j - column * p.unit;
        if (x0 + column >= p.out_w || c + u >= p.channels) continue;
        float v = tile[row * columns + j];
        if constexpr (kEpilogue) {
          const int64_t pixel = static_cast<int64_t>(oy) * p.out_w + x0 + column;
          v = e.activated(v * e.scale_of(n, c + u, p.channels) + (e.noise_of(n, pixel, pixels) + e.b_of(c + u)));
        }
        y[(static_cast<int64_t>(plane) * p.out_h + oy) * row_elements + static_cast<int64_t>(x0 + column) * p.pixel + (p.channels_last ? c + u : 0)] =
            narrow<S>(v);
      }
    }
  }
}

template <class S, int UP, int DOWN, Taps K, bool kEpilogue>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks)
    tile_kernel(Tile p, DeviceEpilogue<float> e, const S* __restrict__ x, S* __restrict__ y) {
  STYLEGAN_DYNAMIC_SHARED(shared);
  float* taps = reinterpret_cast<float*>(shared);
  float *tile = taps + p.tile_at, *rows = taps + p.rows_at, *out = taps + p.out_at;
  stage_taps<K>(p, taps);
  const int block = blockIdx.x % p.blocks, place = blockIdx.x / p.blocks;
  const int tile_y = place / p.tiles_x, tile_x = place - tile_y * p.tiles_x;
  const int x0 = tile_x * p.width, y0 = tile_y * p.height - p.shift, c0 = block * p.unit;
  const int from = x0 * DOWN - p.origin_x, sample = from >= 0 ? from / UP : -((-from + UP - 1) / UP);
  int first = sample;
  if (!p.blocked) {
    constexpr int V = kAccess / static_cast<int>(sizeof(S));
    const int element = sample * p.unit;
    first = p.wide_in ? element - ((element % V) + V) % V : element;
  }
  const int top = (y0 * DOWN - p.origin_y) / UP;  // no rest, by p.shift
  for (int plane = blockIdx.y; plane < p.planes; plane += gridDim.y) {
    load_tile(p, x + static_cast<int64_t>(plane) * p.in_h * p.in_w * p.pixel, top, first, c0, tile);
    __syncthreads();
    if constexpr (K == Taps::separable) {
      filter_rows<UP, DOWN>(p, x0, first, taps, tile, rows);
      __syncthreads();
      filter_columns<UP, DOWN>(p, taps + p.kw, rows, out);
    } else {
      filter_tile<UP, DOWN, K>(p, x0, first, taps, tile, out);
    }
    __syncthreads();
    store_tile<kEpilogue>(p, e, plane, x0, y0, c0, out, y);
    __syncthreads();
  }
}

}  // namespace stylegan::upfirdn2d::cuda
