// SPDX-License-Identifier: Apache-2.0
// First step of the tiled kernel: samples to shared memory.
#pragma once

#include "upfirdn2d/cuda/tile.cuh"

namespace stylegan::upfirdn2d::cuda {

// tile[row * run + e] = element first + e of row top + row of x, or 0. first: of a row of the plane in
// memory, or, where blocked, the pixel with which each row begins.
template <class S>
__device__ __forceinline__ void load_tile(const Tile& p, const S* __restrict__ x, int top, int first, int c0,
                                          float* tile) {
  constexpr int V = kAccess / static_cast<int>(sizeof(S));
  const int64_t row_elements = static_cast<int64_t>(p.in_w) * p.pixel;
  // Where element e of a row lies, or -1.
  auto offset_of = [&](int row, int e) -> int64_t {
    const int y = top + row;
    if (y < 0 || y >= p.in_h) return -1;
    if (p.blocked) {
      const int column = first + e / p.unit, channel = c0 + e % p.unit;
      if (column < 0 || column >= p.in_w || channel >= p.channels) return -1;
      return y * row_elements + static_cast<int64_t>(column) * p.pixel + channel;
    }
    const int at = first + e;
    return at < 0 || at >= row_elements ? -1 : y * row_elements + at;
  };
  if (p.wide_in) {
    const int per_row = p.run / V, groups = p.in_rows * per_row;
    for (int g0 = threadIdx.x; g0 < groups; g0 += kLoadsAtOnce * kTileThreads) {
      uint4 words[kLoadsAtOnce];
#pragma unroll
      for (int a = 0; a < kLoadsAtOnce; ++a) {
        const int g = g0 + a * kTileThreads, row = g / per_row;
        const int64_t at = g < groups ? offset_of(row, (g - row * per_row) * V) : -1;
        words[a] = at < 0 ? uint4{0, 0, 0, 0} : *reinterpret_cast<const uint4*>(x + at);
      }
#pragma unroll
      for (int a = 0; a < kLoadsAtOnce; ++a) {
        const int g = g0 + a * kTileThreads;
        if (g >= groups) break;
        Pack<S, V> pack;
        pack.words[0] = words[a];
#pragma unroll
        for (int j = 0; j < V; j += 4)
          *reinterpret_cast<float4*>(tile + g * V + j) = float4{widen(pack.values[j]), widen(pack.values[j + 1]),
                                                                widen(pack.values[j + 2]), widen(pack.values[j + 3])};
      }
    }
  } else {
    const int lane = threadIdx.x % kWarp;
    for (int row = threadIdx.x / kWarp; row < p.in_rows; row += kTileThreads / kWarp)
      for (int e0 = lane; e0 < p.run; e0 += kLoadsAtOnce * kWarp) {
        float v[kLoadsAtOnce];
#pragma unroll
        for (int a = 0; a < kLoadsAtOnce; ++a) {
          const int e = e0 + a * kWarp;
          const int64_t at = e < p.run ? offset_of(row, e) : -1;
          v[a] = at < 0 ? 0.0f : widen(x[at]);
        }
#pragma unroll
        for (int a = 0; a < kLoadsAtOnce; ++a)
          if (e0 + a * kWarp < p.run) tile[row * p.run + e0 + a * kWarp] = v[a];
      }
  }
}

}  // namespace stylegan::upfirdn2d::cuda
