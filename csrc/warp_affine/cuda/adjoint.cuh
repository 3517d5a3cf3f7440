// SPDX-License-Identifier: Apache-2.0
// Adjoint: one kernel makes the gradient of v from dy, in global memory. In the other, a block takes a tile of dx. The
// image is shown up to three times along each axis of the reflected one, so the tile has up to nine parts of the fine
// image. For each of them that v reads at all, every sample adds up what v has read of it; the samples are then
// filtered and reduced in shared memory. The affine map is inverted to find those that have read it, so nothing is
// added by atomics, and the result is the same in every run.
#pragma once

#include "warp_affine/cuda/tile.cuh"

namespace stylegan::warp_affine::cuda {

// dv [planes, mid height, mid width], one element a thread.
template <class S>
__global__ void __launch_bounds__(kThreads) expand_kernel(Launch p, int64_t size, const Arithmetic<S>* __restrict__ f,
                                                          const S* __restrict__ dy, Arithmetic<S>* __restrict__ dv) {
  using T = Arithmetic<S>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= size) return;
  const Quotient columns = divide(at, p.mid_width()), rows = divide(columns.div, p.mid_height());
  const int r = static_cast<int>(rows.mod), s = static_cast<int>(columns.mod);
  const S* const from = dy + rows.div * p.height * p.width;
  T sum = 0;
  for (int k = r & 1; k < p.taps && k <= r; k += 2) {
    const int y = (r - k) / 2;
    if (y >= p.height) continue;
    T row = 0;
    for (int j = s & 1; j < p.taps && j <= s; j += 2)
      if (const int x = (s - j) / 2; x < p.width) row += f[j] * widen(from[static_cast<int64_t>(y) * p.width + x]);
    sum += f[k] * row;
  }
  dv[at] = sum;
}

// Whole numbers from begin to end - 1, within 0 to size - 1.
struct Span {
  int begin, end;
};

// Those not farther than `reach` from `middle`; all of them where either is not a number.
template <class T> __device__ Span span_around(T middle, T reach, int size) {
  const T low = floor(middle - reach), high = ceil(middle + reach) + 1, last = static_cast<T>(size);
  return {low > 0 ? static_cast<int>(low < last ? low : last) : 0,
          high < last ? static_cast<int>(high > 0 ? high : T(0)) : size};
}

constexpr float kSlack = 1.01f;  // instead of 1: distances are rounded

// Which samples of v have read a sample of the fine image.
template <class T> struct Readers {
  Map<T> map;
  T inverse;  // of the determinant; 0 if the map has no inverse, or none that rounding leaves reliable

  __device__ explicit Readers(const Map<T>& map) : map(map), inverse(0) {
    const T a = map.xx * map.yy, b = map.xy * map.yx, determinant = a - b;
    const T size = abs_of(a) + abs_of(b);
    if (abs_of(determinant) > T(1e-3) * size && size > 0) inverse = 1 / determinant;
  }
  static __device__ T abs_of(T v) { return v < 0 ? -v : v; }

  // Rows of v that may have read what lies at most `reach` from (x, y).
  __device__ Span rows(const Launch& p, T x, T y, T reach) const {
    if (inverse == 0) return {0, p.mid_height()};
    const T middle = (map.xx * (y - map.y) - map.yx * (x - map.x)) * inverse;
    const T around = (abs_of(map.xx) + abs_of(map.yx)) * abs_of(inverse) * reach + T(0.5);
    return span_around(middle + static_cast<T>(p.center_y()), around, p.mid_height());
  }
  __device__ Span columns(const Launch& p, T x, T y, T reach) const {
    if (inverse == 0) return {0, p.mid_width()};
    const T middle = (map.yy * (x - map.x) - map.xy * (y - map.y)) * inverse;
    const T around = (abs_of(map.yy) + abs_of(map.xy)) * abs_of(inverse) * reach + T(0.5);
    return span_around(middle + static_cast<T>(p.center_x()), around, p.mid_width());
  }
  // Those of one row for which |slope * column - distance| < 1.
  static __device__ Span of_row(T slope, T distance, int center, int size) {
    if (slope == 0) return abs_of(distance) < T(kSlack) ? Span{0, size} : Span{0, 0};
    return span_around(distance / slope + static_cast<T>(center), T(kSlack) / abs_of(slope), size);
  }
};

// sums[c] += what v has read of sample (column, row) of the fine image.
template <class T>
__device__ __forceinline__ void add_readers(const Launch& p, const Readers<T>& readers, int row, int column,
                                            int channels, const T* __restrict__ dv, T (&sums)[kChannels]) {
  const Map<T>& map = readers.map;
  const T x = static_cast<T>(column), y = static_cast<T>(row);
  const Span rows = readers.rows(p, x, y, T(kSlack));
  for (int i = rows.begin; i < rows.end; ++i) {
    const T r = static_cast<T>(i - p.center_y()), from_x = map.xy * r + map.x, from_y = map.yy * r + map.y;
    const Span a = Readers<T>::of_row(map.xx, x - from_x, p.center_x(), p.mid_width());
    const Span b = Readers<T>::of_row(map.yx, y - from_y, p.center_x(), p.mid_width());
    const int end = min(a.end, b.end);
    for (int j = max(a.begin, b.begin); j < end; ++j) {
      const T s = static_cast<T>(j - p.center_x());
      const T wx = 1 - Readers<T>::abs_of(map.xx * s + from_x - x),
              wy = 1 - Readers<T>::abs_of(map.yx * s + from_y - y);
      if (!(wx > 0 && wy > 0)) continue;
      const T weight = wx * wy;
#pragma unroll
      for (int c = 0; c < kChannels; ++c)
        if (c < channels) sums[c] += weight * dv[(static_cast<int64_t>(c) * p.mid_height() + i) * p.mid_width() + j];
    }
  }
}

// One of the three times that the reflected image shows a tile along an axis: -1, 0 or 1.
struct Image {
  int fold, size, first;  // of pixels

  __device__ int low() const {
    return fold == 0 ? first : fold < 0 ? -(first + kTile - 1) : 2 * (size - 1) - (first + kTile - 1);
  }
  __device__ bool has(int i) const {
    const int m = first + i;
    return m < size && (fold == 0 || (fold < 0 ? m > 0 : m < size - 1));
  }
  __device__ int at(int i) const { return fold == 0 ? i : kTile - 1 - i; }  // of pixel i of the tile
  __device__ bool any() const { return fold == 0 || (fold < 0 ? first + kTile > 1 && size > 1 : first < size - 1); }
};

// Two blocks an SM leave 128 registers to a thread, which is too few for float64.
template <class S>
__global__ void __launch_bounds__(kThreads, sizeof(Arithmetic<S>) == 8 ? 1 : 2)
    adjoint_kernel(Launch p, const Arithmetic<S>* __restrict__ matrix, const Arithmetic<S>* __restrict__ f,
                   const Arithmetic<S>* __restrict__ dv, S* __restrict__ dx) {
  using T = Arithmetic<S>;
  STYLEGAN_DYNAMIC_SHARED(memory);
  const Shared<T> shared(p, memory);
  const Place at(p);
  shared.stage_taps(p, f);
  __syncthreads();
  const int row = threadIdx.x / kTile, column = threadIdx.x % kTile;
  for (int n = blockIdx.y; n < p.samples; n += gridDim.y) {
    const Readers<T> readers(map_of(matrix + 9 * n, p.height, p.width));
    const int64_t plane = static_cast<int64_t>(n) * p.channels + at.channel;
    const T* const from = dv + plane * p.mid_height() * p.mid_width();
    T total[kChannels] = {};
#pragma unroll 1
    for (int part = 0; part < 9; ++part) {
      const Image over_x{part % 3 - 1, p.width, at.x}, over_y{part / 3 - 1, p.height, at.y};
      if (!over_x.any() || !over_y.any()) continue;
      const int x0 = 2 * over_x.low() - p.taps / 2 + 1, y0 = 2 * over_y.low() - p.taps / 2 + 1;
      const T half = static_cast<T>(p.side - 1) / 2;
      const T mx = static_cast<T>(x0) + half, my = static_cast<T>(y0) + half;
      const Span rows = readers.rows(p, mx, my, half + 2), columns = readers.columns(p, mx, my, half + 2);
      if (rows.begin >= rows.end || columns.begin >= columns.end) continue;  // the same for all threads
      for (int i = threadIdx.x; i < p.side * p.side; i += kThreads) {
        const int y = y0 + i / p.side, x = x0 + i % p.side;
        T sums[kChannels] = {};
        if (x >= -2 * (p.width - 1) && x <= 4 * p.width - 3 && y >= -2 * (p.height - 1) && y <= 4 * p.height - 3)
          add_readers(p, readers, y, x, at.channels, from, sums);
#pragma unroll
        for (int c = 0; c < kChannels; ++c)
          if (c < at.channels) shared.samples[c * p.side * p.side + i] = 4 * sums[c];  // 2 along each axis
      }
      __syncthreads();
      shared.filter_rows(p, at.channels);
      __syncthreads();
      if (over_x.has(column) && over_y.has(row))
#pragma unroll
        for (int c = 0; c < kChannels; ++c)
          if (c < at.channels) total[c] += shared.filter_column(p, c, over_y.at(row), over_x.at(column));
    }
    if (at.y + row < p.height && at.x + column < p.width)
#pragma unroll
      for (int c = 0; c < kChannels; ++c)
        if (c < at.channels) dx[((plane + c) * p.height + at.y + row) * p.width + at.x + column] = narrow<S>(total[c]);
    __syncthreads();
  }
}

}  // namespace stylegan::warp_affine::cuda
