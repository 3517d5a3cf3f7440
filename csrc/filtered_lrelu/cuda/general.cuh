// SPDX-License-Identifier: Apache-2.0
// Tiling: a block makes a tile of y of one plane (channels_last: of up to 16 channels, one after another, because they
// share the words of the mask), with x, u and v of the tile in shared memory. A thread makes one sample at a time; a
// separable filter goes along the rows into another tile and then down the columns.
//
// For all that the streaming kernel does not take: other numbers of taps, 2-D filters on both sides, factors of 1,
// no filter, sizes beyond 32 bits. Bound by shared memory: two words for each FMA.
#pragma once

#include <algorithm>

#include "filtered_lrelu/cuda/activation.cuh"
#include "lib/cuda/launch.cuh"
#include "lib/cuda/vec.cuh"

namespace stylegan::filtered_lrelu::cuda {
namespace {

constexpr int kGeneralThreads = 256;
constexpr int kChannels = kMaskSamples;  // of a block for channels_last
constexpr int kLargestTile = 32;         // pixels of y along an axis: the halo of 12 taps is then less than the tile
constexpr int64_t kMostGeneralBlocks = 1 << 13;  // 62 for each multiprocessor of an H100; of more tiles a block makes several

// Along one axis. Samples and pixels count from those of the tile in 32 bits.
struct GeneralAxis {
  Axis of;
  int up, down, up_taps, down_taps;
  int size, before, mid, in;  // pixels of y in a tile; of u, and of those how many before the first that y needs; of x
  int64_t first, tiles;

  GeneralAxis() = default;
  // Rows of u that a tile owns begin at a multiple of unit; it makes all that its y needs and, if it writes the mask, owns.
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
  int units;                        // channels of a block
  FilterTaps up, down;
  const float* b;
  Bend bend;
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
    const int k = pairs && i >= w ? i - w : i, last = (pairs ? w : count) - 1;  // w is h where there is a pair
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

template <class S>
__global__ void __launch_bounds__(kGeneralThreads) general_kernel(General p, const S* __restrict__ x, S* __restrict__ y) {
  STYLEGAN_DYNAMIC_SHARED(shared);
  float* up_taps = reinterpret_cast<float*>(shared);
  float *down_taps = up_taps + p.down_at, *xs = up_taps + p.x_at, *rows = up_taps + p.rows_at, *mid = up_taps + p.mid_at,
        *out = up_taps + p.out_at;
  uint32_t* words = reinterpret_cast<uint32_t*>(shared) + p.words_at;
  const GeneralAxis &ax = p.x, &ay = p.y;
  stage_general(p.up, p.up_pairs, ax.up_taps, ay.up_taps, up_taps);
  stage_general(p.down, p.down_pairs, ax.down_taps, ay.down_taps, down_taps);
  const int pixel = p.last ? static_cast<int>(p.channels) : 1;
  const float up_gain = static_cast<float>(p.up.gain), down_gain = static_cast<float>(p.down.gain);
  for (int64_t work = blockIdx.x; work < p.work; work += gridDim.x) {
    Quotient q = divide(work, ax.tiles);
    const int64_t out_x = (q.mod + ax.first) * ax.size;
    q = divide(q.div, ay.tiles);
    const int64_t out_y = (q.mod + ay.first) * ay.size;
    q = divide(q.div, p.blocks);
    const int64_t n = q.div, c0 = q.mod * p.units;
    const int64_t mid_x = out_x * ax.down - ax.of.down.origin - ax.before, mid_y = out_y * ay.down - ay.of.down.origin;
    const int64_t in_x = ax.of.up.first_sample(mid_x), in_y = ay.of.up.first_sample(mid_y);
    const int offset_x = static_cast<int>(ax.of.up.first_tap(mid_x)), offset_y = static_cast<int>(ay.of.up.first_tap(mid_y));
    for (int unit = 0; unit < p.units && c0 + unit < p.channels; ++unit) {
      const int64_t c = c0 + unit, plane = p.last ? n : n * p.channels + c, inner = p.last ? c : 0;
      const float b = p.b == nullptr ? 0.0f : p.b[c];
      __syncthreads();
      for_each_sample(ay.in, ax.in, [&](int row, int column) {
        const int64_t iy = in_y + row, ix = in_x + column;
        const bool there = iy >= 0 && iy < ay.of.up.in && ix >= 0 && ix < ax.of.up.in;
        const int64_t at = ((plane * ay.of.up.in + iy) * ax.of.up.in + ix) * pixel + inner;
        xs[row * ax.in + column] = there ? (widen(x[at]) + b) * up_gain : 0.0f;
      });
      if (p.up_pairs) {
        for_each_sample(ay.in, ax.mid, [&](int row, int column) {
          const Meeting m = meeting(ax, offset_x, column);
          float sum = 0;
          for (int k = m.tap, i = m.sample; k < ax.up_taps; k += ax.up, ++i) sum += up_taps[k] * xs[row * ax.in + i];
          rows[row * ax.mid + column] = sum;
        });
        for_each_sample(ay.mid, ax.mid, [&](int row, int column) {
          const Meeting m = meeting(ay, offset_y, row);
          float sum = 0;
          for (int k = m.tap, i = m.sample; k < ay.up_taps; k += ay.up, ++i)
            sum += up_taps[ax.up_taps + k] * rows[i * ax.mid + column];
          mid[row * ax.mid + column] = sum;
        });
      } else {
        for_each_sample(ay.mid, ax.mid, [&](int row, int column) {
          const Meeting mx = meeting(ax, offset_x, column), my = meeting(ay, offset_y, row);
          float sum = 0;
          for (int ky = my.tap, i = my.sample; ky < ay.up_taps; ky += ay.up, ++i)
            for (int kx = mx.tap, j = mx.sample; kx < ax.up_taps; kx += ax.up, ++j)
              sum += up_taps[ky * ax.up_taps + kx] * xs[i * ax.in + j];
          mid[row * ax.mid + column] = sum;
        });
      }
      // From u to v: a thread has the samples of a word of the mask, or of its channels one after another.
      const int run = p.last ? 1 : kMaskSamples, runs = (ax.mid + run - 1) / run;
      const bool ends = unit + 1 == p.units || c + 1 == p.channels;
      for_each_sample(ay.mid, runs, [&](int row, int column0) {
        const int64_t my = mid_y + row;
        uint32_t word = p.last && unit > 0 && p.mask != nullptr && !p.given ? words[row * ax.mid + column0] : 0;
        for (int i = 0; i < run && column0 * run + i < ax.mid; ++i) {
          const int column = column0 * run + i;
          const int64_t mx = mid_x + column;
          float& u = mid[row * ax.mid + column];
          const bool there = mx >= 0 && mx < ax.of.up.out && my >= 0 && my < ay.of.up.out;
          if (p.given) {
            const int64_t at = p.last ? ((plane * ay.of.up.out + my) * ax.of.up.out + mx) * p.words + c / kMaskSamples
                                      : (plane * ay.of.up.out + my) * p.words + mx / kMaskSamples;
            u = there ? p.bend.given(u, p.mask[at] >> (p.last ? unit : mx % kMaskSamples)) : 0.0f;
          } else {
            const float slope = p.bend.slope(u);
            const int bit = p.last ? unit : i;
            word |= (u > 0 ? 1u : 0u) << bit | (inside(slope, p.bend.clamp) ? 0x10000u : 0u) << bit;
            u = there ? p.bend.clamped(slope) : 0.0f;
          }
        }
        if (p.given || p.mask == nullptr) return;
        if (p.last) words[row * ax.mid + column0] = word;
        const int64_t mx = mid_x + column0 * run;
        const bool own = row < ay.size * ay.down && column0 * run < ax.size * ax.down;
        if (!own || mx < 0 || mx >= ax.of.up.out || my < 0 || my >= ay.of.up.out || (p.last && !ends)) return;
        const int64_t at = p.last ? ((plane * ay.of.up.out + my) * ax.of.up.out + mx) * p.words + c / kMaskSamples
                                  : (plane * ay.of.up.out + my) * p.words + mx / kMaskSamples;
        p.mask[at] = word;
      });
      if (p.down_pairs)
        for_each_sample(ay.mid, ax.size, [&](int row, int column) {
          float sum = 0;
          for (int k = 0; k < ax.down_taps; ++k) sum += down_taps[k] * mid[row * ax.mid + ax.before + column * ax.down + k];
          out[row * ax.size + column] = sum;
        });
      for_each_sample(ay.size, ax.size, [&](int row, int column) {
        const int64_t oy = out_y + row, ox = out_x + column;
        if (oy < 0 || oy >= ay.of.down.out || ox < 0 || ox >= ax.of.down.out) return;
        float sum = 0;
        for (int ky = 0; ky < ay.down_taps; ++ky) {
          if (p.down_pairs) {
            sum += down_taps[ax.down_taps + ky] * out[(row * ay.down + ky) * ax.size + column];
            continue;
          }
          const float* from = mid + (row * ay.down + ky) * ax.mid + ax.before + column * ax.down;
          for (int kx = 0; kx < ax.down_taps; ++kx) sum += down_taps[ky * ax.down_taps + kx] * from[kx];
        }
        y[((plane * ay.of.down.out + oy) * ax.of.down.out + ox) * pixel + inner] = narrow<S>(sum * down_gain);
      });
    }
    __syncthreads();
  }
}

inline General general_of(const Params& f, int width, int height) {
  const bool writes = f.signs == Signs::written;
  const int unit = writes && !f.channels_last ? kMaskSamples : 1;
  General p{};
  p.x = GeneralAxis(f.x, width, unit, writes), p.y = GeneralAxis(f.y, height, 1, writes);
  p.samples = f.samples, p.channels = f.channels, p.last = f.channels_last;
  p.units = p.last ? kChannels : 1;
  p.blocks = ceil_div(f.channels, p.units), p.work = f.samples * p.blocks * p.x.tiles * p.y.tiles;
  p.up = f.up, p.down = f.down;
  p.up_pairs = f.up.separable || f.up.taps == nullptr, p.down_pairs = f.down.separable || f.down.taps == nullptr;
  p.b = static_cast<const float*>(f.b), p.bend = Bend(f), p.mask = f.mask, p.given = f.signs == Signs::given;
  p.words = (f.mask_row() + kMaskSamples - 1) / kMaskSamples;
  p.down_at = p.up_count(), p.x_at = p.down_at + p.down_count();
  p.rows_at = p.x_at + p.y.in * p.x.in;
  p.mid_at = p.rows_at + (p.up_pairs ? p.y.in * p.x.mid : 0);
  p.out_at = p.mid_at + p.y.mid * p.x.mid;
  p.words_at = p.out_at + (p.down_pairs ? p.y.mid * p.x.size : 0);
  p.floats = p.words_at + (p.last && writes ? p.y.mid * p.x.mid : 0);
  return p;
}

template <class S> void run_general(const Params& f, const S* x, S* y, cudaStream_t stream) {
  // The largest tile that needs no permission; the smallest, with 32 taps everywhere, takes a few KiB more.
  int width = kLargestTile, height = kLargestTile;
  const int narrowest = kMaskSamples / static_cast<int>(f.x.down.down);  // tiles own whole words of the mask
  General p = general_of(f, width, height);
  while (p.floats * sizeof(float) > kSharedUnasked && (width > narrowest || height > 1)) {
    (width > narrowest && width >= height ? width : height) /= 2;
    p = general_of(f, width, height);
  }
  const dim3 grid(static_cast<unsigned>(std::min(p.work, kMostGeneralBlocks)));
  launch_shared(general_kernel<S>, grid, dim3(kGeneralThreads), p.floats * sizeof(float), stream, p, x, y);
}

}  // namespace
}  // namespace stylegan::filtered_lrelu::cuda
