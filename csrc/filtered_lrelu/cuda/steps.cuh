// SPDX-License-Identifier: Apache-2.0
// Steps of the streaming kernel along the rows: load, up, down, and the stores of y. See stream.cuh.
#pragma once

#include "filtered_lrelu/cuda/stream.cuh"

namespace stylegan::filtered_lrelu::cuda {

// What a thread has under way of the next chunk.
template <class S, int N> struct Loads {
  S values[N];
  unsigned valid;  // a bit each
};

template <class R, class S>
__device__ __forceinline__ void begin_loads(const Stream& p, const Tile& t, const S* __restrict__ x, int row0,
                                            int column0, Loads<S, R::loads>& loads) {
  const S* from = x + t.x;
  int row = opaque(row0), column = opaque(column0);
  loads.valid = 0;
#pragma unroll
  for (int i = 0; i < R::loads; ++i) {
    const int iy = t.row + row, ix = t.sample_x + column;
    const bool valid = t.exists && row < kRows && iy >= 0 && iy < p.in_h && ix >= 0 && ix < p.in_w;
    loads.values[i] = valid ? from[(static_cast<int64_t>(iy) * p.in_w + ix) * p.pixel] : narrow<S>(0.0f);
    loads.valid |= (valid ? 1u : 0u) << i;
    row += p.load_rows, column += p.load_columns;
    if (column >= p.x_width) column -= p.x_width, ++row;
  }
}

template <class R, class S>
__device__ __forceinline__ void end_loads(const Stream& p, const Tile& t, int lane, const Loads<S, R::loads>& loads,
                                          float* to) {
#pragma unroll
  for (int i = 0; i < R::loads; ++i) {
    const int e = lane + i * p.lanes;
    if (e < kRows * p.x_width) to[e] = (loads.valid >> i & 1) != 0 ? (widen(loads.values[i]) + t.b) * p.up_gain : 0.0f;
  }
}

// u = sum over the taps that meet its samples, along x; row: of x and of u.
template <class R> __device__ __forceinline__ void up_along(const float* taps, const float* x, float* u, int group) {
  float g[R::TU], v[12], sum[4 * R::UP];
  read_taps(taps, g);
#pragma unroll
  for (int i = 0; i < 12; i += 4) read4(x + group * 4 + i, v + i);
#pragma unroll
  for (int i = 0; i < 4 * R::UP; ++i) {
    sum[i] = 0;
#pragma unroll
    for (int q = 0; q < kPhase; ++q) sum[i] += g[R::UP * q + R::UP - 1 - i % R::UP] * v[i / R::UP + q];
  }
#pragma unroll
  for (int i = 0; i < 4 * R::UP; i += 4)
    *reinterpret_cast<float4*>(u + swizzled(group * 4 * R::UP + i)) =
        float4{sum[i], sum[i + 1], sum[i + 2], sum[i + 3]};
}

// The same for UP rows of u by a 2-D filter; newest: in the ring of rows of x, the last that has a part in them.
template <class R>
__device__ __forceinline__ void up_square(const Stream& p, const float* taps, const float* x, int newest, float* u,
                                          int group) {
  float sum[R::UP][4 * R::UP] = {};
  int row = newest - (kPhase - 1);
  if (row < 0) row += R::x_rows;
#pragma unroll 1
  for (int qy = 0; qy < kPhase; ++qy) {
    float v[12];
#pragma unroll
    for (int i = 0; i < 12; i += 4) read4(x + row * p.x_width + group * 4 + i, v + i);
#pragma unroll
    for (int r = 0; r < R::UP; ++r) {
      float g[R::TU];
      read_taps(taps + (R::UP * qy + R::UP - 1 - r) * R::TU, g);
#pragma unroll
      for (int i = 0; i < 4 * R::UP; ++i)
#pragma unroll
        for (int q = 0; q < kPhase; ++q) sum[r][i] += g[R::UP * q + R::UP - 1 - i % R::UP] * v[i / R::UP + q];
    }
    row = row + 1 == R::x_rows ? 0 : row + 1;
  }
#pragma unroll
  for (int r = 0; r < R::UP; ++r)
#pragma unroll
    for (int i = 0; i < 4 * R::UP; i += 4)
      *reinterpret_cast<float4*>(u + r * p.columns + swizzled(group * 4 * R::UP + i)) =
          float4{sum[r][i], sum[r][i + 1], sum[r][i + 2], sum[r][i + 3]};
}

// y = sum over the taps, `outs` pixels of a row. column: of the first.
template <class R>
__device__ __forceinline__ void down_along(const float* taps, const float* v, int column, float (&sum)[R::outs]) {
  constexpr int N = ((R::outs - 1) * R::DOWN + R::TD + 3) / 4 * 4;
  float g[R::TD], w[N];
  read_taps(taps, g);
#pragma unroll
  for (int i = 0; i < N; i += 4) read4(v + swizzled(column + i), w + i);
#pragma unroll
  for (int i = 0; i < R::outs; ++i) {
    sum[i] = 0;
#pragma unroll
    for (int k = 0; k < R::TD; ++k) sum[i] += g[k] * w[i * R::DOWN + k];
  }
}

// The same for a 2-D filter and two rows; row: in the ring, the first of the upper one.
template <class R>
__device__ __forceinline__ void down_square(const Stream& p, const float* taps, const float* v, int row, int column,
                                            float (&sum)[2][R::outs]) {
  constexpr int N = ((R::outs - 1) * R::DOWN + R::TD + 3) / 4 * 4;
  int at[N / 4];
#pragma unroll
  for (int i = 0; i < N / 4; ++i) at[i] = swizzled(column + 4 * i);
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int i = 0; i < R::outs; ++i) sum[r][i] = 0;
#pragma unroll 1
  for (int k = 0; k < R::TD + R::DOWN; ++k) {
    float w[N];
#pragma unroll
    for (int i = 0; i < N / 4; ++i) read4(v + row * p.columns + at[i], w + 4 * i);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int ky = k - r * R::DOWN;
      if (ky < 0 || ky >= R::TD) continue;
      float g[R::TD];
      read_taps(taps + ky * R::TD, g);
#pragma unroll
      for (int i = 0; i < R::outs; ++i)
#pragma unroll
        for (int kx = 0; kx < R::TD; ++kx) sum[r][i] += g[kx] * w[i * R::DOWN + kx];
    }
    row = row + 1 == R::y_rows ? 0 : row + 1;
  }
}

// V pixels of a row of y that begin at column; those beyond the row do not exist.
template <class S, int V>
__device__ __forceinline__ void store_pixels(const Stream& p, S* __restrict__ y, int64_t row, int column,
                                             const float (&v)[V]) {
  S* to = y + (row * p.out_w + column) * p.pixel;
  constexpr int kBytes = V * sizeof(S) < kAccess ? V * sizeof(S) : kAccess, kValues = kBytes / sizeof(S);
  struct alignas(kBytes) Run {
    S values[kValues];
  };
  if (p.wide && column + V <= p.out_w) {
#pragma unroll
    for (int i = 0; i < V; i += kValues) {
      Run run;
#pragma unroll
      for (int j = 0; j < kValues; ++j) run.values[j] = narrow<S>(v[i + j] * p.down_gain);
      *reinterpret_cast<Run*>(to + i) = run;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < V; ++i)
    if (column + i < p.out_w) to[static_cast<int64_t>(i) * p.pixel] = narrow<S>(v[i] * p.down_gain);
}

}  // namespace stylegan::filtered_lrelu::cuda
