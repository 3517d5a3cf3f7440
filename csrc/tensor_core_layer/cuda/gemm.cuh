// SPDX-License-Identifier: Apache-2.0
// The kernel of a layer on tensor cores: an implicit GEMM by mma.sync, whose blocks make m pixels x n channels
// (kTiles).
//
// For each chunk of 64 bytes of channels a block takes its pixels of x, with what surrounds them, into shared memory
// once, and all nine taps read them there, each at another offset: that is 1.3 to 2 parts of the 9 that a GEMM of
// [pixels, taps * channels] would load. Each thread multiplies what it has copied by the styles there, in float32, once
// for nine taps. A step is one tap of one chunk: [n, chunk] of the weights, in a ring of
// stages. x has two buffers, or as many as stages where a chunk has one tap. Bound by the tensor cores from about
// 64 channels on; with fewer by DRAM, where x is read and y written once.
//
// The epilogue works in registers, on eight neighbouring channels of a pixel in each lane. If the tiles are too few for
// the GPU, blocks share a sum by chunks. A second kernel adds their float32 parts in order.
#pragma once

#include "lib/cuda/epilogue.cuh"
#include "lib/cuda/launch.cuh"
#include "tensor_core_layer/cuda/copy.cuh"

namespace stylegan::tensor_core_layer::cuda {
namespace {

template <class S> __device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (sizeof(S) == 2)
    mma_m16n8k16<S>(d, a, b);
  else
    mma_m16n8k8_tf32(d, a, b);
}

// Where a tap finds its samples: rows of shared memory further on, and by how much the phase differs.
struct Tap {
  int kx = 0, shift = 0, phase = 0;

  __device__ __forceinline__ void next(const Gemm& g) {
    ++shift, ++phase;
    if (++kx == g.kernel) kx = 0, shift += g.pitch - g.kernel, phase += 4 - g.kernel;
  }
};

template <class S, int VARIANT> struct GemmTile {
  static constexpr TileSize size = kTiles[VARIANT];
  static constexpr int n = size.n, stages = size.stages, blocks = size.blocks, threads = size.threads();
  static constexpr int row_tiles = size.warp_m / 16, column_tiles = size.warp_n / 8;
  static constexpr int filter_bytes = size.n * kRow;
  // Floats of a row of sums in shared memory: two columns of four rows are in all 32 banks.
  static constexpr int sum_pitch = size.warp_n + 8;
  static_assert(size.warp_n % 32 == 0 && stages >= 3);

  const Gemm& g;
  int lane, warp_m, warp_n;
  float sum[row_tiles][column_tiles][4] = {};
  int rows[row_tiles];  // byte of the row that this lane names to ldmatrix, and how its phase differs from the
  int phase;  // first one's, which is here: by 0 or 4 for all lanes, so that it flips a bit
  int filters;  // byte of a stage, likewise

  __device__ __forceinline__ explicit GemmTile(const Gemm& g) : g(g) {
    const int warp = threadIdx.x / 32;
    lane = threadIdx.x % 32;
    warp_m = warp / (n / size.warp_n) * size.warp_m, warp_n = warp % (n / size.warp_n) * size.warp_n;
#pragma unroll
    for (int i = 0; i < row_tiles; ++i) {
      const int p = warp_m + i * 16 + lane % 16, x = column_of(p), y = line_of(p);
      if (i == 0) phase = pixel_phase(x, y);
      rows[i] = swizzled(slot_of(p) * g.rows + y * g.pitch + x, pixel_phase(x, y) ^ phase, 0);
    }
    const int row = warp_n + lane % 8 + lane / 16 * 8;
    filters = swizzled(row, row, lane / 8 % 2);
    keep(phase), keep(filters);
  }

  // Of pixel p of the tile.
  __device__ __forceinline__ int column_of(int p) const { return p & ((1 << g.log_w) - 1); }
  __device__ __forceinline__ int line_of(int p) const { return p >> g.log_w & ((1 << g.log_h) - 1); }
  __device__ __forceinline__ int slot_of(int p) const { return p >> (g.log_w + g.log_h); }

  // sum += a tap of a chunk. copy() what later steps need, once the first loads are on their way.
  template <class F>
  __device__ __forceinline__ void step(const unsigned char* x, const unsigned char* w, Tap tap, F&& copy) {
    const int flip = swizzled(0, (phase + tap.phase) & 7, lane / 16), shift = tap.shift * kRow;
#pragma unroll
    for (int k = 0; k < kRow; k += kMmaBytes) {  // rows begin at multiples of kRow, so that k only flips a bit
      uint32_t a[row_tiles][4], b[column_tiles][2];
#pragma unroll
      for (int i = 0; i < row_tiles; ++i) load_matrix_x4(a[i], x + (shift + (rows[i] ^ flip ^ k)));
#pragma unroll
      for (int j = 0; j < column_tiles; j += 2) {
        uint32_t two[4];
        load_matrix_x4(two, w + ((filters ^ k) + j * 8 * kRow));
#pragma unroll
        for (int h = 0; h < 4; ++h) b[j + h / 2][h % 2] = sizeof(S) == 2 ? two[h] : to_tf32(float_of(two[h]));
      }
      if (k == 0) copy();
#pragma unroll
      for (int j = 0; j < column_tiles; ++j)
#pragma unroll
        for (int i = 0; i < row_tiles; ++i) mma<S>(sum[i][j], a[i], b[j]);
    }
  }

  // From sums to y, 16 rows of the warp's at a time: through its own part of shared memory each lane gets eight
  // neighbouring channels of a pixel, always the same ones. n, oy, ox: of the tile's first pixel.
  __device__ __forceinline__ void finish(const DeviceEpilogue<float>& e, int n, int oy, int ox, int column, int part,
                                         unsigned char* shared, S* y) {
    constexpr int kGroups = size.warp_n / 8, kRowsAtOnce = 32 / kGroups;
    float* const own = reinterpret_cast<float*>(shared) + threadIdx.x / 32 * (16 * sum_pitch);
    const int group = lane % kGroups * 8, at = column + warp_n + group;
    const int which = g.up ? at / g.out_channels : 0, dy = which >> 1, dx = which & 1;
    const int c = at - which * g.out_channels, count = at < g.columns() ? g.out_channels - c : 0;
    const int64_t pixels = static_cast<int64_t>(g.out_h) * g.out_w;
    float b[8] = {}, scale[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    if (e.b != nullptr) load<8>(e.b, c, count, g.wide_epilogue, b);
    int known = -1;  // sample that scale is of
#pragma unroll 1
    for (int i = 0; i < row_tiles; ++i) {
      __syncwarp();  // no lane reads any more
#pragma unroll
      for (int r = 0; r < row_tiles; ++r) {
        if (r != i) continue;
#pragma unroll
        for (int j = 0; j < column_tiles; ++j)
#pragma unroll
          for (int h = 0; h < 2; ++h)
            *reinterpret_cast<float2*>(own + (lane / 4 + h * 8) * sum_pitch + j * 8 + lane % 4 * 2) =
                make_float2(sum[r][j][2 * h], sum[r][j][2 * h + 1]);
      }
      __syncwarp();
#pragma unroll 2
      for (int row = lane / kGroups; row < 16; row += kRowsAtOnce) {
        const int p = warp_m + i * 16 + row, sample = n + slot_of(p);
        const int line = (oy + line_of(p)) * (g.up ? 2 : 1) + dy, col = (ox + column_of(p)) * (g.up ? 2 : 1) + dx;
        if (count <= 0 || sample >= g.samples || line >= g.out_h || col >= g.out_w) continue;
        float u[8];
        load_wide(own + row * sum_pitch + group, u);
        const int64_t pixel = static_cast<int64_t>(line) * g.out_w + col;
        const int64_t to = (sample * pixels + pixel) * g.out_channels + c;
        if (g.partial != nullptr) {
          store<8>(g.partial + part * g.size, to, count, g.wide_epilogue, u);
          continue;
        }
        if (e.scale != nullptr && sample != known) {
          load<8>(e.scale, static_cast<int64_t>(sample) * g.out_channels + c, count, g.wide_epilogue, scale);
          known = sample;
        }
        const float noise = e.noise_of(sample, pixel, pixels);
#pragma unroll
        for (int f = 0; f < 8; ++f) u[f] = u[f] * scale[f] + (noise + b[f]);
        activate(e, to, u);
        store<8>(y, to, count, g.wide_y, u);
      }
    }
  }
};

template <class Tile, class S>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    layer_kernel(Gemm g, DeviceEpilogue<float> e, const S* __restrict__ x, const S* __restrict__ weight,
                 S* __restrict__ y) {
  STYLEGAN_DYNAMIC_SHARED(shared);
  constexpr int kRing = Tile::stages * Tile::filter_bytes;
  unsigned char* const ring = shared + g.x_ring;
  const int tile_m = static_cast<int>(blockIdx.x / g.tiles_n), tile_n = static_cast<int>(blockIdx.x % g.tiles_n);
  const int part = static_cast<int>(blockIdx.y), first = part * g.chunks_each, taps = g.taps();
  const int steps = min(g.chunks_each, g.chunks - first) * taps;
  const Pixels<S, Tile::threads> pixels(g, x, tile_m, ring + kRing);
  Filters<S, Tile::n, Tile::threads> filters(g, weight, tile_n, first);
  Tile tile(g);
  __syncthreads();  // the table

  // One ahead of the other by stages - 1 steps: what is copied, and what is multiplied. Bytes of the rings.
  int copied = 0, to_chunk = first, to_tap = 0, to_x = 0, to_filters = 0;
  const auto copy = [&] {
    if (copied++ < steps) {
      if (to_tap == 0) pixels.copy(shared + to_x, to_chunk);
      filters.copy(ring + to_filters);
      to_filters = to_filters + Tile::filter_bytes == kRing ? 0 : to_filters + Tile::filter_bytes;
      const bool last = ++to_tap == taps;
      filters.next(g, last);
      if (last) ++to_chunk, to_tap = 0, to_x = to_x + g.x_bytes == g.x_ring ? 0 : to_x + g.x_bytes;
    }
    commit_copies();  // also of nothing, so that groups count steps
  };
#pragma unroll
  for (int s = 0; s < Tile::stages - 1; ++s) copy();
  int chunk = first, done = 0, at_x = 0, at_filters = 0;
  Tap tap;
#pragma unroll 1
  for (int s = 0; s < steps; ++s) {
    const auto wait = [] { wait_copies<Tile::stages - 2>(); };
    if (done == 0)
      pixels.scale(shared + at_x, chunk, wait);
    else
      wait();
    __syncthreads();  // the copies of all, and nobody reads any more what the next ones overwrite
    tile.step(shared + at_x, ring + at_filters, tap, copy);
    at_filters = at_filters + Tile::filter_bytes == kRing ? 0 : at_filters + Tile::filter_bytes;
    tap.next(g);
    if (++done == taps) ++chunk, done = 0, tap = Tap(), at_x = at_x + g.x_bytes == g.x_ring ? 0 : at_x + g.x_bytes;
  }
  wait_copies<0>();
  __syncthreads();  // no lane reads any more what finish() overwrites
  tile.finish(e, pixels.n, pixels.oy, pixels.ox, tile_n * Tile::n, part, shared, y);
}

template <class S, int VARIANT>
void run_variant(int variant, const Gemm& g, const DeviceEpilogue<float>& e, const S* x, const S* weight, S* y,
                 dim3 grid, cudaStream_t stream) {
  using Tile = GemmTile<S, VARIANT>;
  if (variant == VARIANT)
    launch_shared(layer_kernel<Tile, S>, grid, dim3(Tile::threads), shared_bytes(g, kTiles[VARIANT]), stream, g, e, x,
                  weight, y);
  else if constexpr (VARIANT > 0)
    run_variant<S, VARIANT - 1>(variant, g, e, x, weight, y, grid, stream);
}

}  // namespace
}  // namespace stylegan::tensor_core_layer::cuda
