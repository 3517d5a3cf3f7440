// SPDX-License-Identifier: Apache-2.0
// Forward: a block makes the samples of v around its tile in shared memory, then filters and reduces them there. A
// sample of v, between two samples of the fine image along each axis, is a sum of K / 2 + 1 pixels along each axis.
#pragma once

#include "warp_affine/cuda/tile.cuh"

namespace stylegan::warp_affine::cuda {

// The pixels that the sample at u is a sum of, along one axis: pixel(t) has weight(t), for t from 0 to K / 2.
template <class T> struct Reach {
  int first, size, tap;
  T near, far;  // weights of the two samples of the fine image
  const T* taps;

  // Nothing beyond the fine image; NaN stays NaN.
  __device__ Reach(T u, int size, int taps_count, const T* taps)
      : first(0), size(size), tap(taps_count), near(0), far(0), taps(taps) {
    const T low = static_cast<T>(-2 * (size - 1) - 1), high = static_cast<T>(4 * size - 2);
    if (u != u) near = u;
    if (!(u > low && u < high)) return;
    const int i = static_cast<int>(floor(u)), odd = i & 1;
    const T w = u - static_cast<T>(i);
    near = i >= -2 * (size - 1) ? 2 * (1 - w) : T(0);
    far = i + 1 <= 4 * size - 3 ? 2 * w : T(0);
    first = (i - odd) / 2 + odd - taps_count / 4;
    tap = taps_count - 1 - odd + 2;
  }
  __device__ bool empty() const { return near == 0 && far == 0; }
  __device__ int pixel(int t) const {
    const int m = first + t;
    if (m <= -size || m > 2 * (size - 1)) return -1;
    return m < 0 ? -m : m < size ? m : 2 * (size - 1) - m;
  }
  __device__ T weight(int t) const { return near * taps[tap - 2 * t] + far * taps[tap + 1 - 2 * t]; }
};

// kTaps: their number if it is known, else 0.
template <class S, int kTaps>
__device__ __forceinline__ void make_sample(const Launch& p, const Map<Arithmetic<S>>& map, int row, int column,
                                            int channels, const S* __restrict__ x, const Arithmetic<S>* taps,
                                            Arithmetic<S>* to) {
  using T = Arithmetic<S>;
  constexpr int kTerms = kTaps / 2 + 1;  // in registers, if their number is known
  [[maybe_unused]] constexpr int kUnroll = kTaps > 0 ? kTerms : 1;
  const int count = kTaps > 0 ? kTerms : p.taps / 2 + 1;
  const T r = static_cast<T>(row - p.center_y()), s = static_cast<T>(column - p.center_x());
  const Reach<T> along_x(map.xx * s + (map.xy * r + map.x), p.width, p.taps, taps);
  const Reach<T> along_y(map.yx * s + (map.yy * r + map.y), p.height, p.taps, taps);
  T sums[kChannels] = {};
  if (!along_x.empty() && !along_y.empty()) {
    [[maybe_unused]] int pixels[kTerms];
    [[maybe_unused]] T weights[kTerms];
#pragma unroll
    for (int t = 0; t < (kTaps > 0 ? kTerms : 0); ++t) {
      const int m = along_x.pixel(t);
      weights[t] = m < 0 ? T(0) : along_x.weight(t);
      pixels[t] = max(m, 0);
    }
#pragma unroll 1
    for (int t = 0; t < count; ++t) {
      const int m = along_y.pixel(t);
      if (m < 0) continue;
      const T weight = along_y.weight(t);
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        if (c >= channels) break;
        const S* from = x + (static_cast<int64_t>(c) * p.height + m) * p.width;
        T sum = 0;
#pragma unroll kUnroll
        for (int i = 0; i < count; ++i) {
          if constexpr (kTaps > 0)
            sum += weights[i] * widen(from[pixels[i]]);
          else if (const int pixel = along_x.pixel(i); pixel >= 0)
            sum += along_x.weight(i) * widen(from[pixel]);
        }
        sums[c] += weight * sum;
      }
    }
  }
#pragma unroll
  for (int c = 0; c < kChannels; ++c)
    if (c < channels) to[c * p.side * p.side] = sums[c];
}

template <class S, int kTaps>
__global__ void __launch_bounds__(kThreads, 2)
    forward_kernel(Launch p, const Arithmetic<S>* __restrict__ matrix, const Arithmetic<S>* __restrict__ f,
                   const S* __restrict__ x, S* __restrict__ y) {
  using T = Arithmetic<S>;
  STYLEGAN_DYNAMIC_SHARED(memory);
  const Shared<T> shared(p, memory);
  const Place at(p);
  shared.stage_taps(p, f);
  __syncthreads();
  for (int n = blockIdx.y; n < p.samples; n += gridDim.y) {
    const Map<T> map = map_of(matrix + 9 * n, p.height, p.width);
    const int64_t plane = static_cast<int64_t>(n) * p.channels + at.channel;
    const S* const from = x + plane * p.height * p.width;
    for (int i = threadIdx.x; i < p.side * p.side; i += kThreads) {
      const int row = i / p.side, column = i - row * p.side;
      make_sample<S, kTaps>(p, map, 2 * at.y + row, 2 * at.x + column, at.channels, from, shared.taps,
                            shared.samples + i);
    }
    __syncthreads();
    shared.filter_rows(p, at.channels);
    __syncthreads();
    const int row = threadIdx.x / kTile, column = threadIdx.x % kTile;
    if (at.y + row < p.height && at.x + column < p.width)
      for (int c = 0; c < at.channels; ++c)
        y[((plane + c) * p.height + at.y + row) * p.width + at.x + column] =
            narrow<S>(shared.filter_column(p, c, row, column));
    __syncthreads();
  }
}

}  // namespace stylegan::warp_affine::cuda
