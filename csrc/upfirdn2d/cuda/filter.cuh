// SPDX-License-Identifier: Apache-2.0
// Second step of the tiled kernel: sums, from shared memory to shared memory.
#pragma once

#include "upfirdn2d/cuda/tile.cuh"

namespace stylegan::upfirdn2d::cuda {

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
__device__ __forceinline__ void filter_tile(const Tile& p, int x0, int first, const float* taps, const float* tile,
                                            float* out) {
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
__device__ __forceinline__ void filter_rows(const Tile& p, int x0, int first, const float* taps, const float* tile,
                                            float* rows) {
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

}  // namespace stylegan::upfirdn2d::cuda
