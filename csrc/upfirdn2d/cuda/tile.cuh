// SPDX-License-Identifier: Apache-2.0
// Tiling: a block makes a tile of y, up to 64 x 32 pixels of one plane, or 8 x 16 pixels of 32 channels for
// channels_last. In three steps, all on floats in shared memory:
//   load     the samples that the tile needs, with a halo, 16 bytes an access, zeros outside the image;
//   filter   neighbouring threads take neighbouring columns (channels_last: channels), each some rows below
//            each other, so that accesses do not conflict and several rows use a sample. A separable
//            filter goes along the rows into a second tile and then down the columns;
//   store    the sums, laid out once more in shared memory: 16 bytes an access, with the epilogue.
// With `up` a thread takes only the taps that meet a sample: which, depends on its column, and for its rows
// is known beforehand, as tiles begin at a row whose first tap meets one.
//
// Bound by DRAM: x is read once, but for the halo, which is in L2, and y is written once. On an H100 in float16 a
// thread can issue about 34 instructions per element of y in the time that DRAM takes. A 4 x 4 filter takes 16 for its
// sum and about 14 for the rest, 12 + 12 taps take about 50.
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
constexpr int kMaxTaps = 24;                // along an axis; more take the general kernel
constexpr int kGroup = 8;                   // elements that are stored at a time: one byte of a mask
constexpr int kLoadsAtOnce = 4;             // accesses that a thread has under way
constexpr int kSharedPreferred = 32 << 10;  // bytes of a block: so that three fit in the smallest SM (sm_120)
constexpr int64_t kMaxCoordinate = 1 << 29;  // sums of three fit in 32 bits
constexpr int64_t kMaxPlanes = 65535;      // of a grid; of more planes a block takes several

// Rows of a thread: with 4 x 4 taps in registers, more of them fit.
template <int UP, int DOWN, Taps K> constexpr int kRows = K == Taps::four && DOWN == 1 ? 8 : 4;

// One tile, and its shared memory. An image is rows of `unit` neighbouring elements: 1 (contiguous), all
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

}  // namespace stylegan::upfirdn2d::cuda
