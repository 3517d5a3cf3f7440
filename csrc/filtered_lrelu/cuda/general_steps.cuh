// SPDX-License-Identifier: Apache-2.0
// The parameters of the general kernel, and the steps that a block makes; see general.cuh.
#pragma once

#include <algorithm>

#include "filtered_lrelu/cuda/activation.cuh"
#include "lib/cuda/launch.cuh"
#include "lib/cuda/vec.cuh"

namespace stylegan::filtered_lrelu::cuda {
namespace {

constexpr int kGeneralThreads = 256;
constexpr int kChannels = kMaskSamples;  // of a block for channels_last

// Along one axis. Samples and pixels count from those of the tile in 32 bits.
struct GeneralAxis {
  Axis of;
  int up, down, up_taps, down_taps;
  int size, before, mid, in;  // pixels of y in a tile; of u, and of those how many before the first that y needs; of x
  int64_t first, tiles;

  GeneralAxis() = default;
  // Rows of u that a tile owns begin at a multiple of unit; it makes all that its y needs and, if it writes the mask,
  // owns.
  GeneralAxis(const Axis& a, int size, int unit, bool writes)
      : of(a), up(static_cast<int>(a.up.up)), down(static_cast<int>(a.down.down)), up_taps(static_cast<int>(a.up.taps)),
        down_taps(static_cast<int>(a.down.taps)), size(size), first(0) {
    const int64_t start = -a.down.origin;
    before = static_cast<int>(start - floor_div(start, unit) * unit);
    mid = std::max((size - 1) * down + down_taps, size * down) + before;
    in = (mid + up_taps - 2) / up + 1;
    int64_t last = ceil_div(a.down.out, size) - 1;
    if (writes) {
      const int64_t own = int64_t(size) * down;
      first = std::min<int64_t>(0, floor_div(before - start, own));
      last = std::max(last, floor_div(a.up.out - 1 + before - start, own));
    }
    tiles = last - first + 1;
  }
};

struct General {
  GeneralAxis x, y;
  int64_t samples, channels, blocks, work;
  bool last, up_pairs, down_pairs;  // pairs: separable, or a single tap
  int units;  // channels of a block
  FilterTaps up, down;
  const float* b;
  MidActivation activation;
  uint32_t* mask;
  bool given;
  int64_t words;
  int down_at, x_at, rows_at, mid_at, out_at, words_at, floats;  // in shared memory

  int up_count() const { return up_pairs ? x.up_taps + y.up_taps : x.up_taps * y.up_taps; }
  int down_count() const { return down_pairs ? x.down_taps + y.down_taps : x.down_taps * y.down_taps; }
};

// In the order of correlation; a separable filter for x, then for y.
__device__ __forceinline__ void stage_general(const FilterTaps& f, bool pairs, int w, int h, float* taps) {
  const int count = pairs ? w + h : w * h;
  for (int i = threadIdx.x; i < count; i += kGeneralThreads) {
    const int k = pairs && i >= w ? i - w : i, last = (pairs ? w : count) - 1;  // a pair has w equal to h
    taps[i] = f.taps == nullptr ? 1.0f : static_cast<const float*>(f.taps)[f.flip ? k : last - k];
  }
}

// The first sample of x and the first tap that have a part in u; offset: first_tap of the tile's first u.
struct Meeting {
  int sample, tap;
};
__device__ __forceinline__ Meeting meeting(const GeneralAxis& a, int offset, int u) {
  const int sample = u <= offset ? 0 : (u - offset + a.up - 1) / a.up;
  return {sample, sample * a.up + offset - u};
}

// f(row, column) for all of height x width, a thread each.
template <class F> __device__ __forceinline__ void for_each_sample(int height, int width, F&& f) {
  for (int i = threadIdx.x; i < height * width; i += kGeneralThreads) f(i / width, i % width);
  __syncthreads();
}

// The tile of a block: where it begins on y, on the grid between the filters and on x, for every channel of the block.
struct GeneralTile {
  int64_t n, c0;
  int64_t out_x, out_y, mid_x, mid_y, in_x, in_y;
  int offset_x, offset_y;  // first taps of the tile's first u

  __device__ __forceinline__ GeneralTile(const General& p, int64_t work) {
    const GeneralAxis &ax = p.x, &ay = p.y;
    Quotient q = divide(work, ax.tiles);
    out_x = (q.mod + ax.first) * ax.size;
    q = divide(q.div, ay.tiles);
    out_y = (q.mod + ay.first) * ay.size;
    q = divide(q.div, p.blocks);
    n = q.div, c0 = q.mod * p.units;
    mid_x = out_x * ax.down - ax.of.down.origin - ax.before, mid_y = out_y * ay.down - ay.of.down.origin;
    in_x = ax.of.up.first_sample(mid_x), in_y = ay.of.up.first_sample(mid_y);
    offset_x = static_cast<int>(ax.of.up.first_tap(mid_x)), offset_y = static_cast<int>(ay.of.up.first_tap(mid_y));
  }
};

// One channel of a block: `inner` is its offset in a pixel.
struct GeneralPlane {
  int unit, pixel;
  int64_t c, plane, inner;
};

// The parts of a block's shared memory.
struct GeneralShared {
  float *up_taps, *down_taps, *xs, *rows, *mid, *out;
  uint32_t* words;

  __device__ __forceinline__ GeneralShared(const General& p, unsigned char* shared)
      : up_taps(reinterpret_cast<float*>(shared)), down_taps(up_taps + p.down_at), xs(up_taps + p.x_at),
        rows(up_taps + p.rows_at), mid(up_taps + p.mid_at), out(up_taps + p.out_at),
        words(reinterpret_cast<uint32_t*>(shared) + p.words_at) {}
};

template <class S>
__device__ __forceinline__ void load_general(const General& p, const GeneralTile& t, const GeneralPlane& plane,
                                             const S* __restrict__ x, float* xs) {
  const GeneralAxis &ax = p.x, &ay = p.y;
  const float b = p.b == nullptr ? 0.0f : p.b[plane.c], up_gain = static_cast<float>(p.up.gain);
  for_each_sample(ay.in, ax.in, [&](int row, int column) {
    const int64_t iy = t.in_y + row, ix = t.in_x + column;
    const bool valid = iy >= 0 && iy < ay.of.up.in && ix >= 0 && ix < ax.of.up.in;
    const int64_t at = ((plane.plane * ay.of.up.in + iy) * ax.of.up.in + ix) * plane.pixel + plane.inner;
    xs[row * ax.in + column] = valid ? (widen(x[at]) + b) * up_gain : 0.0f;
  });
}

// From x to u.
__device__ __forceinline__ void up_general(const General& p, const GeneralTile& t, const GeneralShared& s) {
  const GeneralAxis &ax = p.x, &ay = p.y;
  if (p.up_pairs) {
    for_each_sample(ay.in, ax.mid, [&](int row, int column) {
      const Meeting m = meeting(ax, t.offset_x, column);
      float sum = 0;
      for (int k = m.tap, i = m.sample; k < ax.up_taps; k += ax.up, ++i) sum += s.up_taps[k] * s.xs[row * ax.in + i];
      s.rows[row * ax.mid + column] = sum;
    });
    for_each_sample(ay.mid, ax.mid, [&](int row, int column) {
      const Meeting m = meeting(ay, t.offset_y, row);
      float sum = 0;
      for (int k = m.tap, i = m.sample; k < ay.up_taps; k += ay.up, ++i)
        sum += s.up_taps[ax.up_taps + k] * s.rows[i * ax.mid + column];
      s.mid[row * ax.mid + column] = sum;
    });
  } else {
    for_each_sample(ay.mid, ax.mid, [&](int row, int column) {
      const Meeting mx = meeting(ax, t.offset_x, column), my = meeting(ay, t.offset_y, row);
      float sum = 0;
      for (int ky = my.tap, i = my.sample; ky < ay.up_taps; ky += ay.up, ++i)
        for (int kx = mx.tap, j = mx.sample; kx < ax.up_taps; kx += ax.up, ++j)
          sum += s.up_taps[ky * ax.up_taps + kx] * s.xs[i * ax.in + j];
      s.mid[row * ax.mid + column] = sum;
    });
  }
}

// The word of the mask of the sample (my, mx) of u.
__device__ __forceinline__ int64_t word_at(const General& p, const GeneralPlane& plane, int64_t my, int64_t mx) {
  const int64_t width = p.x.of.up.out, height = p.y.of.up.out;
  return p.last ? ((plane.plane * height + my) * width + mx) * p.words + plane.c / kMaskSamples
                : (plane.plane * height + my) * p.words + mx / kMaskSamples;
}

// From u to v, in place. A thread has the samples of a word of the mask, or of its channels one after another.
__device__ __forceinline__ void activate_general(const General& p, const GeneralTile& t, const GeneralPlane& plane,
                                                 const GeneralShared& s) {
  const GeneralAxis &ax = p.x, &ay = p.y;
  const int unit = plane.unit, run = p.last ? 1 : kMaskSamples, runs = (ax.mid + run - 1) / run;
  const bool ends = unit + 1 == p.units || plane.c + 1 == p.channels;
  for_each_sample(ay.mid, runs, [&](int row, int column0) {
    const int64_t my = t.mid_y + row;
    uint32_t word = p.last && unit > 0 && p.mask != nullptr && !p.given ? s.words[row * ax.mid + column0] : 0;
    for (int i = 0; i < run && column0 * run + i < ax.mid; ++i) {
      const int column = column0 * run + i;
      const int64_t mx = t.mid_x + column;
      float& u = s.mid[row * ax.mid + column];
      const bool valid = mx >= 0 && mx < ax.of.up.out && my >= 0 && my < ay.of.up.out;
      if (p.given) {
        const int64_t at = word_at(p, plane, my, mx);
        u = valid ? p.activation.given(u, p.mask[at] >> (p.last ? unit : mx % kMaskSamples)) : 0.0f;
      } else {
        const float slope = p.activation.slope(u);
        const int bit = p.last ? unit : i;
        word |= (u > 0 ? 1u : 0u) << bit | (inside(slope, p.activation.clamp) ? 0x10000u : 0u) << bit;
        u = valid ? p.activation.clamped(slope) : 0.0f;
      }
    }
    if (p.given || p.mask == nullptr) return;
    if (p.last) s.words[row * ax.mid + column0] = word;
    const int64_t mx = t.mid_x + column0 * run;
    const bool own = row < ay.size * ay.down && column0 * run < ax.size * ax.down;
    if (!own || mx < 0 || mx >= ax.of.up.out || my < 0 || my >= ay.of.up.out || (p.last && !ends)) return;
    p.mask[word_at(p, plane, my, mx)] = word;
  });
}

// From v to y.
template <class S>
__device__ __forceinline__ void down_general(const General& p, const GeneralTile& t, const GeneralPlane& plane,
                                             const GeneralShared& s, S* __restrict__ y) {
  const GeneralAxis &ax = p.x, &ay = p.y;
  const float down_gain = static_cast<float>(p.down.gain);
  if (p.down_pairs)
    for_each_sample(ay.mid, ax.size, [&](int row, int column) {
      float sum = 0;
      for (int k = 0; k < ax.down_taps; ++k)
        sum += s.down_taps[k] * s.mid[row * ax.mid + ax.before + column * ax.down + k];
      s.out[row * ax.size + column] = sum;
    });
  for_each_sample(ay.size, ax.size, [&](int row, int column) {
    const int64_t oy = t.out_y + row, ox = t.out_x + column;
    if (oy < 0 || oy >= ay.of.down.out || ox < 0 || ox >= ax.of.down.out) return;
    float sum = 0;
    for (int ky = 0; ky < ay.down_taps; ++ky) {
      if (p.down_pairs) {
        sum += s.down_taps[ax.down_taps + ky] * s.out[(row * ay.down + ky) * ax.size + column];
        continue;
      }
      const float* from = s.mid + (row * ay.down + ky) * ax.mid + ax.before + column * ax.down;
      for (int kx = 0; kx < ax.down_taps; ++kx) sum += s.down_taps[ky * ax.down_taps + kx] * from[kx];
    }
    const int64_t at = ((plane.plane * ay.of.down.out + oy) * ax.of.down.out + ox) * plane.pixel + plane.inner;
    y[at] = narrow<S>(sum * down_gain);
  });
}

}  // namespace
}  // namespace stylegan::filtered_lrelu::cuda
