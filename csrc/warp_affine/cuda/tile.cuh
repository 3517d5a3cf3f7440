// SPDX-License-Identifier: Apache-2.0
// What both kernels share: tiles of 16 x 16 pixels of some channels of one sample, and the samples around them.
#pragma once

#include "lib/cuda/vec.cuh"
#include "lib/integer.h"
#include "warp_affine/params.h"

namespace stylegan::warp_affine::cuda {

using namespace stylegan::cuda;

constexpr int kTile = 16;      // px: samples that tiles have in common are made twice, 1.7 times as many in all
constexpr int kThreads = 256;  // a thread for each pixel of a tile
constexpr int kChannels = 4;   // at most, of a tile: positions and weights are found once for all of them

// All that a launch needs.
struct Launch {
  int samples, channels, height, width, taps;
  int side;              // samples of a tile along an axis
  int chunk, chunks;     // channels of a tile, tiles of a sample on top of one another
  int tiles_x, tiles_y;

  __device__ int mid_width() const { return 2 * width + taps - 2; }
  __device__ int mid_height() const { return 2 * height + taps - 2; }
  __device__ int center_x() const { return width + taps / 2 - 2; }
  __device__ int center_y() const { return height + taps / 2 - 2; }
};

// A tile: its first pixel and channel, and how many channels it has.
struct Place {
  int x, y, channel, channels;

  __device__ explicit Place(const Launch& p) {
    const int tile = blockIdx.x / p.chunks;
    channel = (blockIdx.x - tile * p.chunks) * p.chunk;
    channels = min(p.chunk, p.channels - channel);
    y = tile / p.tiles_x * kTile;
    x = tile % p.tiles_x * kTile;
  }
};

// In shared memory. taps have zeros around: f[k] is taps[2 + k], for k from -2 to K.
template <class T> struct Shared {
  T *taps, *samples, *rows;

  __device__ Shared(const Launch& p, unsigned char* memory)
      : taps(reinterpret_cast<T*>(memory)), samples(taps + round_up(p.taps + 3, 4)),
        rows(samples + p.chunk * p.side * p.side) {}

  __device__ void stage_taps(const Launch& p, const T* f) const {
    for (int i = threadIdx.x; i < p.taps + 3; i += kThreads) taps[i] = i < 2 || i >= p.taps + 2 ? T(0) : f[i - 2];
  }

  // rows[c][r][o] = sum over k of f[k] * samples[c][r][2 o + k].
  __device__ void filter_rows(const Launch& p, int channels) const {
    for (int i = threadIdx.x; i < channels * p.side * kTile; i += kThreads) {
      const T* from = samples + i / kTile * p.side + 2 * (i % kTile);
      T sum = 0;
      for (int k = 0; k < p.taps; ++k) sum += taps[2 + k] * from[k];
      rows[i] = sum;
    }
  }

  // sum over k of f[k] * rows[c][2 y + k][x].
  __device__ T filter_column(const Launch& p, int c, int y, int x) const {
    const T* from = rows + (c * p.side + 2 * y) * kTile + x;
    T sum = 0;
    for (int k = 0; k < p.taps; ++k) sum += taps[2 + k] * from[k * kTile];
    return sum;
  }
};

inline size_t shared_numbers(const Launch& p) {
  return round_up(p.taps + 3, 4) + static_cast<size_t>(p.chunk) * p.side * (p.side + kTile);
}

}  // namespace stylegan::warp_affine::cuda
