// SPDX-License-Identifier: Apache-2.0
// Tiling: a block makes a tile of y of one plane, or of 16 channels for channels_last, and walks down it, a few
// rows of x at a time ("chunk"), so that shared memory holds only those rows and the halo above a tile is paid once:
//   load    rows of x, of which the global reads were under way during the chunk before, with b and the gain;
//   up      along the rows, a thread 4 samples of x and all that lies between them, from 3 float4;
//   march   a thread owns two columns of the mid image and goes down them. It keeps the unfinished sums of both
//           filters along y in registers ("transposed form": each new value goes into all sums that it has a part
//           in, one of which is then complete), so that u and v of a separable filter exist in registers only;
//   down    along the rows, a thread some neighbouring pixels of y, from float4 to memory.
// A 2-D filter has no such halves. Up: `up` makes u by all 6 x 6 taps that meet a sample, from the last 9 rows of x,
// and `march` takes it from there. Down: `march` leaves v in a ring of rows, and `down` makes a block of 4 x 2 pixels
// of y at a time, which uses each v and each tap 8 times.
//
// Bound by the issue of instructions: for a pixel of y with 12 + 12 taps, up and down 2, 72 FMA, 4 samples of u to
// activate (about 8 instructions each; 13 with a mask to write) and about 13 words through shared memory, which has a
// fourth of the FMA's rate; DRAM would take a fifth of that time in float16.
#pragma once

#include "filtered_lrelu/cuda/activation.cuh"
#include "lib/cuda/launch.cuh"
#include "lib/cuda/vec.cuh"

namespace stylegan::filtered_lrelu::cuda {

enum class Form { separable, square_up, square_down };  // which of the filters is 2-D

constexpr int kPhase = 6;            // taps of a filter that meet a sample: all networks have 6 times the factor
constexpr int kRows = 4;             // of x in a chunk: each thread has one piece of work in `up` and in `down`
constexpr int kColumns = 2;          // of the mid image that a thread owns: they share taps and addresses
constexpr int kUnits = 16;  // channels of a block for channels_last: a word of the mask, a sector of float16

template <int UP_, int DOWN_, Form F> struct Rates {
  static constexpr int UP = UP_, DOWN = DOWN_, TU = kPhase * UP, TD = kPhase * DOWN;
  static constexpr bool square_up = F == Form::square_up, square_down = F == Form::square_down;
  static constexpr int up_taps = square_up ? TU * TU : TU, down_taps = square_down ? TD * TD : TD;
  static constexpr int mids = kRows * UP, done = mids / DOWN;  // rows of u and of y that a chunk completes
  static constexpr int step = UP > DOWN ? UP : DOWN;  // rows of u between which x and y fall together
  static constexpr int loads = UP == 2 ? 6 : 4;  // elements of a chunk for each thread
  static constexpr int outs = DOWN == 4 ? 2 : square_down || UP == 2 ? 4 : 8;  // pixels that a thread makes at a time
  static constexpr int max_threads = step == 2 ? 512 : 384;  // 128 or 168 registers each
  static constexpr bool ahead =
      UP == 2;  // a given mask is read a row before its use; with 4 there are no registers for it
  static constexpr int out_rows = square_down ? 2 : 1;
  static constexpr int x_rows = square_up ? 3 * kRows : kRows;  // in shared memory; of u: with the rows between
  static constexpr int u_rows = square_up ? mids : kRows;
  static constexpr int y_rows = square_down ? mids + TD - DOWN + 1 : done;  // of v, where the filter is 2-D
};

// The parameters of the kernel; in elements, of shared memory in floats. "unit": channel of a block, 0 for contiguous.
struct Stream {
  int in_w, in_h, mid_w, mid_h, out_w, out_h;
  int up_x, up_y, down_x, down_y;  // origins
  int channels, pixel;  // pixel: elements between neighbours in a row
  bool last;  // channels_last
  int units, lanes, columns;  // columns of the mid image of a block: kColumns * lanes
  int width, height;  // of the tile, pixels of y
  int first_x, first_y;  // tiles: the first ones, negative where u begins before y does
  int tiles_x, tiles_y, blocks;  // blocks: of channels
  int64_t work;  // tiles in all; the kernel counts them in 32 bits
  int before, up_shift, down_shift;  // columns of the block before the first that y needs; see columns of `march`
  int load_rows, load_columns;  // from one of a thread's loads to the next
  int x_width, x_plane, u_plane, y_plane, x_at, u_at, y_at;
  const float *fu, *fd, *b;
  bool up_flip, down_flip, wide;  // wide: `outs` pixels of y may be stored at once
  float up_gain, down_gain;
  uint32_t* mask;
  int words;  // of a row of the mask
  int64_t row_words, column_words;  // between rows of u, between the columns of a thread
  MidActivation activation;
};

// Neighbouring threads take float4 that are 1, 2 or 4 apart; so do all of a quarter of a warp from different banks.
__device__ __forceinline__ int swizzled(int column) { return column ^ (column >> 3 & 12); }

__device__ __forceinline__ void read4(const float* p, float* v) {
  const float4 four = *reinterpret_cast<const float4*>(p);
  v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
}

template <int N> __device__ __forceinline__ void read_taps(const float* p, float (&v)[N]) {
#pragma unroll
  for (int i = 0; i < N; i += 4) read4(p + i, v + i);
}

// In the order of correlation.
__device__ __forceinline__ void stage_taps(const float* f, bool flip, int count, float* taps) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) taps[i] = f[flip ? i : count - 1 - i];
}

// A value of which the compiler knows nothing: what is made of it is made where it is needed, and not kept in
// registers.
__device__ __forceinline__ int opaque(int v) {
#if defined(__CUDA_ARCH__)
  asm volatile("" : "+r"(v));
#endif
  return v;
}

// Of the block's tile.
struct Tile {
  int64_t x, y, mask;  // elements before the plane (channels_last: before the sample and channel)
  float b;
  bool exists;  // the channel of this thread
  int sample_x;  // column of x with which its rows begin in shared memory
  int row;  // next row of x to be loaded
  int column;  // of u, the block's first
  int mid;  // next row of u to be made
  bool hold;  // the first row of u belongs to the step before
  int out_x, out_y;  // of the tile
  int out, out_end;  // next row of y to be completed, and where rows end
};

// In 32 bits; b > 0.
__device__ __forceinline__ int floor_ratio(int a, int b) { return a / b - (a % b < 0); }
__device__ __forceinline__ int ceil_ratio(int a, int b) { return a / b + (a % b > 0); }

template <class R> __device__ __forceinline__ Tile tile_at(const Stream& p, int64_t work, int unit) {
  Quotient q = divide(work, p.tiles_x);
  const int tile_x = static_cast<int>(q.mod) + p.first_x;
  q = divide(q.div, p.tiles_y);
  const int tile_y = static_cast<int>(q.mod) + p.first_y;
  q = divide(q.div, p.blocks);
  const int64_t n = q.div, c0 = q.mod * p.units, plane = n * (p.last ? 1 : p.channels) + (p.last ? 0 : c0);
  Tile t;
  t.exists = c0 + unit < p.channels;
  t.b = p.b != nullptr && t.exists ? p.b[c0 + unit] : 0.0f;
  const int64_t inner = p.last ? c0 + unit : 0;
  t.x = plane * p.in_h * p.in_w * p.pixel + inner;
  t.y = plane * p.out_h * p.out_w * p.pixel + inner;
  t.mask = plane * p.mid_h * (p.last ? p.mid_w : 1) * p.words + (p.last ? c0 / kMaskSamples : 0);
  t.out_x = tile_x * p.width, t.out_y = tile_y * p.height;
  // Sample s, if the last to arrive, completes UP rows of u, of which the first is s * UP + up_y - TU + 1; along x
  // alike. Steps begin with the row of u that the first tap of a row of y meets.
  const int first = t.out_y * R::DOWN - p.down_y;
  t.row = ceil_ratio(first - p.up_y, R::UP);
  int phase = t.row * R::UP + p.up_y - R::TU + 1 + p.down_y;
  phase -= floor_ratio(phase, R::DOWN) * R::DOWN;
  if (phase >= R::UP) phase -= R::UP, --t.row;
  t.hold = opaque(phase) > 0;
  t.mid = t.row * R::UP + p.up_y - R::TU + 1;
  t.out = (t.mid - phase + p.down_y) / R::DOWN - (kPhase - 1);  // no rest
  t.out_end = t.out_y + p.height;
  const int last = p.mask != nullptr ? max(p.out_h, ceil_ratio(p.mid_h + p.down_y, R::DOWN)) : p.out_h;
  t.out_end = min(t.out_end, last);
  t.column = t.out_x * R::DOWN - p.down_x - p.before;
  t.sample_x = (t.column - p.up_shift - p.up_x + R::UP - 1) / R::UP;  // no rest
  return t;
}

}  // namespace stylegan::filtered_lrelu::cuda
