// SPDX-License-Identifier: Apache-2.0
// The tiled kernel; see tile.cuh.
#pragma once

#include "upfirdn2d/cuda/filter.cuh"
#include "upfirdn2d/cuda/load.cuh"
#include "upfirdn2d/cuda/store.cuh"
#include "upfirdn2d/cuda/tile.cuh"

namespace stylegan::upfirdn2d::cuda {

template <class S, int UP, int DOWN, Taps K, bool kEpilogue>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks)
    tile_kernel(Tile p, DeviceEpilogue<float> e, const S* __restrict__ x, S* __restrict__ y) {
  STYLEGAN_DYNAMIC_SHARED(shared);
  float* taps = reinterpret_cast<float*>(shared);
  float *tile = taps + p.tile_at, *rows = taps + p.rows_at, *out = taps + p.out_at;
  stage_taps<K>(p, taps);
  const int block = blockIdx.x % p.blocks, tile_index = blockIdx.x / p.blocks;
  const int tile_y = tile_index / p.tiles_x, tile_x = tile_index - tile_y * p.tiles_x;
  const int x0 = tile_x * p.width, y0 = tile_y * p.height - p.shift, c0 = block * p.unit;
  const int from = x0 * DOWN - p.origin_x, sample = from >= 0 ? from / UP : -((-from + UP - 1) / UP);
  int first = sample;
  if (!p.blocked) {
    constexpr int V = kAccess / static_cast<int>(sizeof(S));
    const int element = sample * p.unit;
    first = p.wide_in ? element - ((element % V) + V) % V : element;
  }
  const int top = (y0 * DOWN - p.origin_y) / UP;  // no rest, by p.shift
  for (int plane = blockIdx.y; plane < p.planes; plane += gridDim.y) {
    load_tile(p, x + static_cast<int64_t>(plane) * p.in_h * p.in_w * p.pixel, top, first, c0, tile);
    __syncthreads();
    if constexpr (K == Taps::separable) {
      filter_rows<UP, DOWN>(p, x0, first, taps, tile, rows);
      __syncthreads();
      filter_columns<UP, DOWN>(p, taps + p.kw, rows, out);
    } else {
      filter_tile<UP, DOWN, K>(p, x0, first, taps, tile, out);
    }
    __syncthreads();
    store_tile<kEpilogue>(p, e, plane, x0, y0, c0, out, y);
    __syncthreads();
  }
}

}  // namespace stylegan::upfirdn2d::cuda
