// SPDX-License-Identifier: Apache-2.0
// The middle of filtered_lrelu's streaming kernel: down the columns of the mid image; and the kernel.
#pragma once

#include "filtered_lrelu/cuda/steps.cuh"
#include "filtered_lrelu/cuda/stream.cuh"

namespace stylegan::filtered_lrelu::cuda {

// What a thread carries from row to row, for each of its columns.
template <class R> struct Sums {
  float u[kColumns][R::square_up ? 1 : R::TU - R::UP];  // unfinished, the next to be completed first
  float y[kColumns][R::square_down ? 1 : kPhase];       // the next to be completed last
  float hold[kColumns];                                 // the row of v before, with Tile.hold
  uint32_t bits[kColumns][R::UP];                       // of a given mask, for the next row of x
};

// Where a thread's columns are, and which rows of u count there: comparisons of unsigned numbers do for both ends.
struct Owned {
  int from[kColumns], to[kColumns];  // in rows of u and of y (v) in shared memory; to: -1 if the column is not kept
  unsigned rows[kColumns], writes[kColumns];  // of u, 0 where the column does not exist; whose bits this thread writes,
  int first;  // from this one on
  int64_t word;  // of the mask, of the first column and the next row of u
  int bit;
};

template <class R> __device__ __forceinline__ Owned owned(const Stream& p, const Tile& t, int unit, int lane) {
  Owned own;
  const int mine = t.out_y * R::DOWN - p.down_y, first = max(mine, 0), end = min(mine + p.height * R::DOWN, p.mid_h);
  own.first = first;
  own.bit = p.last ? unit : (t.column + lane) & (kMaskSamples - 1);  // p.lanes is a multiple of 16 there
  const int m0 = t.column + lane;
  own.word = t.mask + (p.last ? static_cast<int64_t>(m0) * p.words : m0 >> 4) + t.mid * p.row_words;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int column = lane + c * p.lanes, m = t.column + column;
    const bool exists = m >= 0 && m < p.mid_w;
    own.from[c] = swizzled(min(column + p.up_shift, p.columns - 1));
    own.to[c] = column + p.down_shift < p.columns ? swizzled(column + p.down_shift) : -1;
    own.rows[c] = opaque(t.exists && exists ? p.mid_h : 0);
    // Half a warp has the samples of a word.
    const bool writes = threadIdx.x % kMaskSamples == 0 && exists && column < p.width * R::DOWN;
    own.writes[c] = opaque(writes ? max(end - first, 0) : 0);
  }
  return own;
}

// The bits of UP rows of u from row `mid` on; word: of the first.
template <class R>
__device__ __forceinline__ void read_bits(const Stream& p, const Owned& own, int mid, int64_t word,
                                          uint32_t (&bits)[kColumns][R::UP]) {
#pragma unroll
  for (int i = 0; i < R::UP; ++i)
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const bool valid = static_cast<unsigned>(mid + i) < own.rows[c];
      bits[c][i] = valid ? __ldg(p.mask + word + c * p.column_words + i * p.row_words) >> own.bit : 0;
    }
}

// v of a sample of u in row `mid`, with its bits written. All threads of the warp call it.
__device__ __forceinline__ float activated(const Stream& p, const Owned& own, int c, int mid, int64_t word, float u) {
  const float slope = p.activation.slope(u), v = p.activation.clamped(slope);
  if (p.mask != nullptr) {
    const int half = threadIdx.x & kMaskSamples;
    const unsigned above = __ballot_sync(~0u, u > 0), within = __ballot_sync(~0u, inside(slope, p.activation.clamp));
    if (static_cast<unsigned>(mid - own.first) < own.writes[c])
      p.mask[word + c * p.column_words] = (above >> half & 0xFFFF) | (within >> half) << 16;
  }
  return static_cast<unsigned>(mid) < own.rows[c] ? v : 0.0f;
}

// Rows of v, DOWN for each row of y, into the sums of the down filter; each step completes rows of y from `row` on.
template <class R>
__device__ __forceinline__ void add_to_y(const Stream& p, const Owned& own, const float* down_taps,
                                         const float (&v)[kColumns][R::step], int row, float* y, Sums<R>& sums) {
  constexpr int DOWN = R::DOWN;
  float gd[R::TD];
  read_taps(down_taps, gd);
#pragma unroll
  for (int c = 0; c < kColumns; ++c)
#pragma unroll
    for (int b = 0; b < R::step / DOWN; ++b) {
#pragma unroll
      for (int j = kPhase - 1; j > 0; --j) sums.y[c][j] = sums.y[c][j - 1] + gd[j * DOWN] * v[c][b * DOWN];
      sums.y[c][0] = gd[0] * v[c][b * DOWN];
#pragma unroll
      for (int q = 1; q < DOWN; ++q)
#pragma unroll
        for (int j = 0; j < kPhase; ++j) sums.y[c][j] += gd[j * DOWN + q] * v[c][b * DOWN + q];
      if (own.to[c] >= 0) y[(row + b) * p.columns + own.to[c]] = sums.y[c][kPhase - 1];
    }
}

// A chunk of u to as many rows of y, not yet filtered along x; square_down: of v, into the ring from `slot` on.
template <class R, bool kGiven>
__device__ __forceinline__ void march(const Stream& p, const Tile& t, Owned& own, const float* up_taps,
                                      const float* down_taps, const float* u, float* y, int slot, Sums<R>& sums) {
  constexpr int UP = R::UP, DOWN = R::DOWN, TU = R::TU;
  float gu[R::square_up ? 4 : TU];
  if constexpr (!R::square_up) read_taps(up_taps, gu);
#pragma unroll 1
  for (int step = 0; step < R::mids / R::step; ++step) {
    float v[kColumns][R::step];
#pragma unroll
    for (int a = 0; a < R::step / UP; ++a) {
      const int row = step * (R::step / UP) + a, mid = t.mid + row * UP;
      uint32_t bits[kColumns][UP];
      if constexpr (kGiven) {
        if constexpr (R::ahead) std::memcpy(bits, sums.bits, sizeof bits);
        constexpr int kNext = R::ahead ? UP : 0;
        read_bits<R>(p, own, mid + kNext, own.word + kNext * p.row_words, R::ahead ? sums.bits : bits);
      }
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        float w[UP];
        if constexpr (R::square_up) {
#pragma unroll
          for (int i = 0; i < UP; ++i) w[i] = u[(row * UP + i) * p.columns + own.from[c]];
        } else {
          const float x = u[row * p.columns + own.from[c]];
#pragma unroll
          for (int j = 0; j < TU; ++j) {
            const float sum = j < TU - UP ? sums.u[c][j] + gu[TU - 1 - j] * x : gu[TU - 1 - j] * x;
            (j < UP ? w[j] : sums.u[c][j - UP]) = sum;
          }
        }
#pragma unroll
        for (int i = 0; i < UP; ++i) {
          if constexpr (kGiven)
            w[i] = p.activation.given(w[i], bits[c][i]);
          else
            w[i] = activated(p, own, c, mid + i, own.word + i * p.row_words, w[i]);
        }
        if constexpr (R::square_down) {
#pragma unroll
          for (int i = 0; i < UP; ++i) {
            int at = slot + row * UP + i + (t.hold ? 1 : 0);
            if (at >= R::y_rows) at -= R::y_rows;
            if (own.to[c] >= 0) y[at * p.columns + own.to[c]] = w[i];
          }
        } else {
#pragma unroll
          for (int i = 0; i < UP; ++i) v[c][a * UP + i] = t.hold ? (i == 0 ? sums.hold[c] : w[i - 1]) : w[i];
          sums.hold[c] = w[UP - 1];
        }
      }
      own.word += UP * p.row_words;
    }
    if constexpr (!R::square_down) add_to_y<R>(p, own, down_taps, v, step * (R::step / DOWN), y, sums);
  }
}

template <class S, int UP, int DOWN, Form F, bool kGiven>
__global__ void __launch_bounds__(Rates<UP, DOWN, F>::max_threads)
    stream_kernel(Stream p, const S* __restrict__ x, S* __restrict__ y) {
  using R = Rates<UP, DOWN, F>;
  STYLEGAN_DYNAMIC_SHARED(shared);
  float* up_taps = reinterpret_cast<float*>(shared);
  float* down_taps = up_taps + R::up_taps;
  const int unit = p.last ? threadIdx.x % kUnits : 0, lane = p.last ? threadIdx.x / kUnits : threadIdx.x;
  float *xs = up_taps + p.x_at + unit * p.x_plane, *us = up_taps + p.u_at + unit * p.u_plane;
  float* ys = up_taps + p.y_at + unit * p.y_plane;
  stage_taps(p.fu, p.up_flip, R::up_taps, up_taps);
  stage_taps(p.fd, p.down_flip, R::down_taps, down_taps);
  // This thread's piece of work in each step.
  const int load_row = UP == 2 ? 0 : lane / p.x_width, load_column = lane - load_row * p.x_width;
  const int up_groups = p.columns / (4 * UP), up_row = lane / up_groups, up_group = lane - up_row * up_groups;
  const int groups = p.width / R::outs, out_row = lane / groups * R::out_rows, out_column = lane % groups * R::outs;
  for (int work = blockIdx.x; work < static_cast<int>(p.work); work += gridDim.x) {
    Tile t = tile_at<R>(p, work, unit);
    Owned own = owned<R>(p, t, unit, opaque(lane));
    Loads<S, R::loads> loads;
    Sums<R> sums = {};
    begin_loads<R>(p, t, x, load_row, load_column, loads);
    if constexpr (kGiven && R::ahead) read_bits<R>(p, own, t.mid, own.word, sums.bits);
    int x_slot = 0, y_slot = 0;
#pragma unroll 1
    for (; t.out < t.out_end; t.out += R::done) {
      end_loads<R>(p, t, lane, loads, xs + x_slot * p.x_width);
      t.row += kRows;
      begin_loads<R>(p, t, x, load_row, load_column, loads);
      __syncthreads();
      if (up_row < kRows) {
        if constexpr (R::square_up)
          up_square<R>(p, up_taps, xs, x_slot + up_row, us + up_row * UP * p.columns, up_group);
        else
          up_along<R>(up_taps, xs + up_row * p.x_width, us + up_row * p.columns, up_group);
      }
      if constexpr (R::square_up) x_slot = x_slot + kRows == R::x_rows ? 0 : x_slot + kRows;
      __syncthreads();
      march<R, kGiven>(p, t, own, up_taps, down_taps, us, ys, y_slot, sums);
      t.mid += R::mids;
      __syncthreads();
      const int row = t.out + out_row, from = p.before + p.down_shift + out_column * DOWN;
      if (out_row < R::done && t.exists && row + R::out_rows > t.out_y && t.out_x >= 0 && t.out_y >= 0) {
        float sum[R::out_rows][R::outs];
        if constexpr (R::square_down) {
          int first = y_slot + (out_row - (kPhase - 1)) * DOWN;
          first += first < 0 ? R::y_rows : first >= R::y_rows ? -R::y_rows : 0;
          down_square<R>(p, down_taps, ys, first, from, sum);
        } else {
          down_along<R>(down_taps, ys + out_row * p.columns, from, sum[0]);
        }
#pragma unroll
        for (int r = 0; r < R::out_rows; ++r)
          if (row + r >= t.out_y && row + r < min(t.out_end, p.out_h))
            store_pixels(p, y + t.y, row + r, t.out_x + out_column, sum[r]);
      }
      if constexpr (R::square_down) y_slot += y_slot + R::mids >= R::y_rows ? R::mids - R::y_rows : R::mids;
    }
  }
}

}  // namespace stylegan::filtered_lrelu::cuda
