// SPDX-License-Identifier: Apache-2.0
// How the kernel cuts its work into blocks, and how a block lays out its shared memory.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "lib/cuda/epilogue.cuh"
#include "tensor_core_layer/cuda/tensor_core_layer.cuh"

namespace stylegan::tensor_core_layer::cuda {

using namespace stylegan::cuda;  // lib/cuda

// A row of shared memory: the channels that a step takes of one pixel of x, or of one tap of one filter. With
// 64 bytes and three stages, two blocks of the largest tile fit in the 100 KiB of the smaller GPUs.
constexpr int kRow = 64;                      // bytes
constexpr int kRowSegments = kRow / kAccess;  // what a thread copies
constexpr int kMmaBytes = 32;                 // of a row, for one mma
template <class S> constexpr int kSegment = kAccess / static_cast<int>(sizeof(S));  // channels
template <class S> constexpr int kChunk = kRow / static_cast<int>(sizeof(S));       // channels

// Byte of a segment of a row. ldmatrix reads the same segment of eight rows at once. These lie in all 32 banks
// if the phases of the rows are different modulo 8, and odd where the rows are.
STYLEGAN_HOST_DEVICE constexpr int swizzled(int row, int phase, int segment) {
  return row * kRow + (segment ^ (phase >> 1 & 3)) * kAccess;
}

// Of the pixels of a tile, whose eight neighbours are (8, 1) or (4, 2) pixels. With a tap's offset in x and y
// they stay different.
STYLEGAN_HOST_DEVICE constexpr int pixel_phase(int x, int y) { return (x + 4 * y) & 7; }

// row / d is row * ceil(2^20 / d) >> 20, as row * d stays below 2^20: at most 576 rows, in slots of at most 324.
constexpr int kInverseBits = 20;
inline int inverse(int d) { return static_cast<int>(ceil_div(1 << kInverseBits, d)); }

// The parameters of the kernel. A tile is `slots` samples of (1 << log_w) x (1 << log_h) pixels; its samples of x
// are `rows` rows for each slot, `pitch` of them for a line of the image.
struct Gemm {
  int samples, in_channels, out_channels, in_h, in_w, out_h, out_w;  // as Convolution
  int kernel, pad_y, pad_x;
  bool up;
  int log_w, log_h, slots, pitch, rows;
  int inverse_pitch, inverse_rows;
  int tiles_x, tiles_y, tiles_n;
  int chunks, chunks_each;  // in all, and of a part of the sum
  int x_bytes, x_ring;      // of shared memory: a buffer of x, and all of them
  bool wide_y, wide_epilogue;
  const float* styles;      // aligned to 16 bytes
  float* partial;           // null, or [parts, size]
  int64_t size;             // elements of y

  STYLEGAN_HOST_DEVICE int taps() const { return kernel * kernel; }
  STYLEGAN_HOST_DEVICE int slot_of(int row) const { return row * inverse_rows >> kInverseBits; }
  STYLEGAN_HOST_DEVICE int line_of(int row_of_slot) const { return row_of_slot * inverse_pitch >> kInverseBits; }
  STYLEGAN_HOST_DEVICE int columns() const { return out_channels * (up ? 4 : 1); }
};

// A block's pixels and channels, a warp's, and how many blocks a multiprocessor takes if registers allow.
struct TileSize {
  int m, n, warp_m, warp_n, stages, blocks;
  STYLEGAN_HOST_DEVICE constexpr int threads() const { return m / warp_m * (n / warp_n) * 32; }
};

// Warps of 64 x 64 read least of shared memory for an mma; smaller tiles make more blocks, for small images;
// 32 channels are all that the largest images have. float32 has only the first ones, to save
// time to compile.
constexpr TileSize kTiles[] = {
    {64, 64, 32, 32, 4, 4},
    {128, 64, 64, 32, 3, 3},
    {256, 32, 64, 32, 3, 3},
    {128, 128, 64, 64, 3, 2},
};
template <class S> constexpr int kVariants = sizeof(S) == 2 ? 4 : 3;

// The rings, and the table of rows; in the end the sums of 16 rows of a tile overwrite them.
inline int64_t shared_bytes(const Gemm& g, const TileSize& t) {
  const int64_t sums = t.threads() / 32 * 16 * (t.warp_n + 8) * sizeof(float);
  return std::max<int64_t>(g.x_ring + t.stages * t.n * kRow + g.slots * g.rows * sizeof(uint32_t), sums);
}

constexpr int64_t kSmallImage = 4096;  // pixels; tiles of several larger ones would win little

// Pixels of a tile.
struct Shape {
  int log_w, log_h, slots;
};

inline int64_t lattice(int64_t out, bool up) { return up ? ceil_div(out, 2) : out; }

inline int64_t shape_tiles(const Convolution& c, Shape s) {
  return ceil_div(lattice(c.out_w, c.up), 1 << s.log_w) * ceil_div(lattice(c.out_h, c.up), 1 << s.log_h) *
         ceil_div(c.samples, s.slots);
}

inline int shape_rows(int kernel, Shape s) { return ((1 << s.log_w) + kernel - 1) * ((1 << s.log_h) + kernel - 1); }

// The shape of m pixels that makes the fewest tiles, and of these the one with the smallest halo.
inline Shape best_shape(const Convolution& c, int m) {
  constexpr Shape kShapes[] = {{4, 4, 0}, {4, 3, 0}, {3, 4, 0}, {3, 3, 0}, {2, 3, 0}, {2, 2, 0}};
  Shape best{};
  for (Shape s : kShapes) {
    s.slots = m >> (s.log_w + s.log_h);
    if (s.slots == 0 || (s.slots > 1 && c.in_h * c.in_w > kSmallImage)) continue;
    if (best.slots == 0 || shape_tiles(c, s) < shape_tiles(c, best)) best = s;
  }
  return best;
}

// Elements i .. i + 7 of y from what the sum, scale, noise and bias make; without a mask, which is the
// usual case of this kernel, in half the instructions.
__device__ __forceinline__ void activate(const DeviceEpilogue<float>& e, int64_t i, float (&u)[8]) {
  if (e.positive_plane != nullptr) return e.activate(i, u);
  if (e.negative != 0) {
#pragma unroll
    for (float& v : u) v *= v > 0 ? e.positive : e.negative;
  } else {
#pragma unroll
    for (float& v : u) v = sloped(v, 0.0f, e.positive);
  }
#pragma unroll
  for (float& v : u) v = clamped(v, e.clamp);
}

// grid: of blocks, tiles x parts. One for each dtype, in a .cu of its own, so that they compile at once.
void launch_layer(int variant, const Gemm&, const DeviceEpilogue<float>&, const float* x, const float* weight, float* y,
                  dim3 grid, cudaStream_t);
void launch_layer(int variant, const Gemm&, const DeviceEpilogue<float>&, const __half* x, const __half* weight,
                  __half* y, dim3 grid, cudaStream_t);
void launch_layer(int variant, const Gemm&, const DeviceEpilogue<float>&, const __nv_bfloat16* x,
                  const __nv_bfloat16* weight, __nv_bfloat16* y, dim3 grid, cudaStream_t);

}  // namespace stylegan::tensor_core_layer::cuda
