// SPDX-License-Identifier: Apache-2.0
// Third step of the tiled kernel: sums to y, with the epilogue.
#pragma once

#include "upfirdn2d/cuda/tile.cuh"

namespace stylegan::upfirdn2d::cuda {

// The tile at (x0, y0) of y, channels from c0 on, kGroup elements at a time.
template <bool kEpilogue, class S>
__device__ __forceinline__ void store_groups(const Tile& p, const DeviceEpilogue<float>& e, int plane, int x0, int y0,
                                             int c0, const float* tile, S* __restrict__ y) {
  const int columns = p.columns();
  const int64_t row_elements = static_cast<int64_t>(p.out_w) * p.pixel,
                pixels = static_cast<int64_t>(p.out_w) * p.out_h;
  const int n = p.channels_last ? plane : plane / p.channels, c = p.channels_last ? c0 : plane - n * p.channels;
  const int per_row = columns / kGroup, groups = p.height * per_row;
  // A thread keeps to its channels: 256 is a multiple of the groups in a block of them.
  float scale[kGroup], b[kGroup];
  if constexpr (kEpilogue) {
    const int mine = p.blocked ? c + threadIdx.x * kGroup % p.unit : c;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const int channel = min(p.blocked ? mine + i : mine, p.channels - 1);
      scale[i] = e.scale_of(n, channel, p.channels);
      b[i] = e.b_of(channel);
    }
  }
  for (int g = threadIdx.x; g < groups; g += kTileThreads) {
    const int row = g / per_row, j = (g - row * per_row) * kGroup, oy = y0 + row;
    const int column = p.blocked ? j / p.unit : j, u = p.blocked ? j % p.unit : 0;
    // Whole groups exist or do not: see Tile.grouped.
    const bool beyond = p.blocked ? x0 + column >= p.out_w || c + u >= p.channels : x0 * p.unit + j >= row_elements;
    if (oy < 0 || oy >= p.out_h || beyond) continue;
    const int64_t at =
        oy * row_elements + (p.blocked ? static_cast<int64_t>(x0 + column) * p.pixel + c + u : x0 * p.unit + j);
    float v[kGroup];
#pragma unroll
    for (int i = 0; i < kGroup; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(tile + row * columns + j + i);
      v[i] = four.x, v[i + 1] = four.y, v[i + 2] = four.z, v[i + 3] = four.w;
    }
    const int64_t i0 = static_cast<int64_t>(plane) * p.out_h * row_elements + at;
    if constexpr (kEpilogue) {
      const int64_t pixel = static_cast<int64_t>(oy) * p.out_w + x0 + column;
      const float here = p.blocked ? e.noise_of(n, pixel, pixels) : 0;
#pragma unroll
      for (int i = 0; i < kGroup; ++i)
        v[i] = v[i] * scale[i] + ((p.blocked ? here : e.noise_of(n, pixel + i, pixels)) + b[i]);
      e.activate(i0, v);
    }
    store(y, i0, kGroup, p.wide_out, v);
  }
}

// The same, an element at a time.
template <bool kEpilogue, class S>
__device__ __forceinline__ void store_elements(const Tile& p, const DeviceEpilogue<float>& e, int plane, int x0, int y0,
                                               int c0, const float* tile, S* __restrict__ y) {
  const int columns = p.columns();
  const int64_t row_elements = static_cast<int64_t>(p.out_w) * p.pixel,
                pixels = static_cast<int64_t>(p.out_w) * p.out_h;
  const int n = p.channels_last ? plane : plane / p.channels, c = p.channels_last ? c0 : plane - n * p.channels;
  const int lane = threadIdx.x % kWarp;
  for (int row = threadIdx.x / kWarp; row < p.height; row += kTileThreads / kWarp) {
    const int oy = y0 + row;
    if (oy < 0 || oy >= p.out_h) continue;
    for (int j = lane; j < columns; j += kWarp) {
      const int column = j / p.unit, u = j - column * p.unit;
      if (x0 + column >= p.out_w || c + u >= p.channels) continue;
      float v = tile[row * columns + j];
      if constexpr (kEpilogue) {
        const int64_t pixel = static_cast<int64_t>(oy) * p.out_w + x0 + column;
        v = e.activated(v * e.scale_of(n, c + u, p.channels) + (e.noise_of(n, pixel, pixels) + e.b_of(c + u)));
      }
      y[(static_cast<int64_t>(plane) * p.out_h + oy) * row_elements + static_cast<int64_t>(x0 + column) * p.pixel +
        (p.channels_last ? c + u : 0)] = narrow<S>(v);
    }
  }
}

template <bool kEpilogue, class S>
__device__ __forceinline__ void store_tile(const Tile& p, const DeviceEpilogue<float>& e, int plane, int x0, int y0,
                                           int c0, const float* tile, S* __restrict__ y) {
  if (p.grouped)
    store_groups<kEpilogue>(p, e, plane, x0, y0, c0, tile, y);
  else
    store_elements<kEpilogue>(p, e, plane, x0, y0, c0, tile, y);
}

}  // namespace stylegan::upfirdn2d::cuda
