// SPDX-License-Identifier: Apache-2.0
// Which tiles, and which instance of the tiled kernel. A .cu for each dtype, so that they compile at once.
#pragma once

#include "upfirdn2d/cuda/tile_kernel.cuh"
#include "upfirdn2d/params.h"

namespace stylegan::upfirdn2d::cuda {

// Returns false and does nothing if the general kernel is needed.
bool try_tiles(const Fir&, const Epilogue*, const float* x, float* y, cudaStream_t);
bool try_tiles(const Fir&, const Epilogue*, const __half* x, __half* y, cudaStream_t);
bool try_tiles(const Fir&, const Epilogue*, const __nv_bfloat16* x, __nv_bfloat16* y, cudaStream_t);

namespace {

constexpr int64_t kSmallPlane = 512;  // pixels; below that a block per plane is idle for the most part
constexpr int kMinBlockedChannels = 8;       // channels_last below that: rows are runs of memory, as if contiguous

// One way to cut y into tiles of width x height pixels with pixels of `unit` elements.
template <class S, int UP, int DOWN, Taps K>
Tile tile_of(const Fir& f, int unit, int width, int height, bool wide_in) {
  constexpr int V = kAccess / static_cast<int>(sizeof(S));
  Tile t{};
  t.in_w = static_cast<int>(f.x.in), t.in_h = static_cast<int>(f.y.in);
  t.out_w = static_cast<int>(f.x.out), t.out_h = static_cast<int>(f.y.out);
  t.origin_x = static_cast<int>(f.x.origin), t.origin_y = static_cast<int>(f.y.origin);
  t.kw = static_cast<int>(f.x.taps), t.kh = static_cast<int>(f.y.taps);
  t.channels = static_cast<int>(f.channels), t.channels_last = f.channels_last;
  t.blocked = f.channels_last && f.channels >= kMinBlockedChannels;
  t.planes = static_cast<int>(f.channels_last ? f.samples : f.samples * f.channels);
  t.unit = unit, t.pixel = t.blocked ? static_cast<int>(f.channels) : unit;
  t.blocks = t.blocked ? static_cast<int>(ceil_div(f.channels, unit)) : 1;
  t.width = width, t.height = height;
  t.in_rows = ((height - 1) * DOWN + t.kh - 1) / UP + 1;
  t.run = (((width - 1) * DOWN + t.kw - 1 + UP - 1) / UP + 1) * unit;
  if (!t.blocked) t.run = static_cast<int>(round_up(t.run + (wide_in ? V - 1 : 0), wide_in ? V : 4));
  t.wide_in = wide_in;
  t.shift = static_cast<int>(-f.y.origin - floor_div(-f.y.origin, UP) * UP);
  t.tiles_x = static_cast<int>(ceil_div(t.out_w, width)),
  t.tiles_y = static_cast<int>(ceil_div(t.out_h + t.shift, height));
  const int taps = static_cast<int>(round_up(K == Taps::separable ? t.kw + t.kh : t.kw * t.kh, 4));
  const int tile = static_cast<int>(round_up(static_cast<int64_t>(t.in_rows) * t.run, 4)), out = width * height * unit;
  t.tile_at = taps;
  t.rows_at = taps + (K == Taps::separable ? std::max(tile, out) : tile);
  // A separable filter no longer needs the samples when it makes y, so y may overwrite them.
  t.out_at = K == Taps::separable ? t.tile_at : t.rows_at;
  const int rows = static_cast<int>(round_up(static_cast<int64_t>(t.in_rows) * width * unit, 4));
  t.floats = t.rows_at + (K == Taps::separable ? rows : out);
  t.f = static_cast<const float*>(f.taps), t.flip = f.flip, t.gain = static_cast<float>(f.gain);
  return t;
}

// What an element of y costs with these tiles, in elements that pass through DRAM or L2.
template <class S> double cost_of(const Tile& t) {
  const double made = static_cast<double>(t.tiles_x) * t.width * t.tiles_y * t.height * t.blocks * t.unit;
  const double wanted = static_cast<double>(t.out_w) * t.out_h * (t.blocked ? t.channels : t.unit);
  const double loaded = static_cast<double>(t.in_rows) * t.run / (t.width * t.height * t.unit);
  // Memory moves 64 bytes at a time, at least a sector of 32.
  const int bytes = t.unit * static_cast<int>(sizeof(S));
  const double sector = !t.blocked || bytes >= 64 ? 1 : bytes >= 32 ? 1.2 : 2;
  return made / wanted * (1 + loaded) * sector + (t.floats * 4 > kSharedPreferred ? 100 : 0);
}

// The cheapest tile; floats is 0 if none fits.
template <class S, int UP, int DOWN, Taps K> Tile best_tile(const Fir& f, bool aligned_in) {
  constexpr int V = kAccess / static_cast<int>(sizeof(S));
  const bool blocked = f.channels_last && f.channels >= kMinBlockedChannels;
  const int64_t run = blocked ? f.channels : f.channels_last ? f.channels * f.x.in : f.x.in;
  Tile best{};
  for (int unit : {8, 16, 32}) {
    if (!blocked) unit = f.channels_last ? static_cast<int>(f.channels) : 1;
    for (const int width : {4, 8, 16, 32, 64})
      for (const int height : {4, 8, 16, 32, 64}) {
        if (height % kRows<UP, DOWN, K> != 0 || width * unit % kGroup != 0 || width * height * unit > 8192) continue;
        const Tile t = tile_of<S, UP, DOWN, K>(f, unit, width, height, aligned_in && run % V == 0);
        if (t.floats * sizeof(float) > kSharedUnasked) continue;
        if (best.floats == 0 || cost_of<S>(t) < cost_of<S>(best)) best = t;
      }
    if (!blocked) break;
  }
  return best;
}

template <class S, int UP, int DOWN, Taps K, bool kEpilogue>
bool run_tiled(const Fir& f, const DeviceEpilogue<float>& e, const S* x, S* y, cudaStream_t stream) {
  Tile t = best_tile<S, UP, DOWN, K>(f, aligned(x));
  const double blocks = static_cast<double>(t.tiles_x) * t.tiles_y * t.blocks;
  if (t.floats == 0 || blocks >= kMaxCoordinate) return false;
  t.grouped = (t.blocked ? f.channels : f.x.out * t.unit) % kGroup == 0 && !(kEpilogue && !t.blocked && t.unit > 1);
  t.wide_out = aligned(y);
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min<int64_t>(t.planes, kMaxPlanes)));
  launch_shared(tile_kernel<S, UP, DOWN, K, kEpilogue>, grid, dim3(kTileThreads), t.floats * sizeof(float), stream, t,
                e, x, y);
  return true;
}

template <class S, int UP, int DOWN, bool kEpilogue>
bool run_taps(const Fir& f, const DeviceEpilogue<float>& e, const S* x, S* y, cudaStream_t stream) {
  if (f.separable && f.taps != nullptr) return run_tiled<S, UP, DOWN, Taps::separable, kEpilogue>(f, e, x, y, stream);
  if constexpr (UP <= 2 && DOWN <= 2)
    if (f.x.taps == 4 && f.y.taps == 4) return run_tiled<S, UP, DOWN, Taps::four, kEpilogue>(f, e, x, y, stream);
  return run_tiled<S, UP, DOWN, Taps::any, kEpilogue>(f, e, x, y, stream);
}

inline bool fits_tiles(const Fir& f) {
  const int64_t unit = f.channels_last ? f.channels : 1;
  if (f.samples * f.channels >= kMaxCoordinate) return false;
  for (const FirAxis& a : {f.x, f.y})
    if (a.taps > kMaxTaps || std::max({a.in, a.out * a.down, std::abs(a.origin)}) * unit >= kMaxCoordinate)
      return false;
  const bool rows = !f.channels_last || f.channels < kMinBlockedChannels;
  return f.x.up == f.y.up && f.x.down == f.y.down && !(rows && f.x.out * f.y.out < kSmallPlane);
}

// Returns false if the general kernel is needed.
template <class S, bool kEpilogue>
bool run_factors(const Fir& f, const DeviceEpilogue<float>& e, const S* x, S* y, cudaStream_t stream) {
  if (!fits_tiles(f)) return false;
  const int64_t up = f.x.up, down = f.x.down;
  if (up == 1 && down == 1) return run_taps<S, 1, 1, kEpilogue>(f, e, x, y, stream);
  if constexpr (!kEpilogue) {
    if (up == 2 && down == 1) return run_taps<S, 2, 1, false>(f, e, x, y, stream);
    if (up == 1 && down == 2) return run_taps<S, 1, 2, false>(f, e, x, y, stream);
    if (up == 4 && down == 1) return run_taps<S, 4, 1, false>(f, e, x, y, stream);
    if (up == 1 && down == 4) return run_taps<S, 1, 4, false>(f, e, x, y, stream);
  }
  return false;
}

template <class S>
bool run_dtype(const Fir& f, const Epilogue* epilogue, const S* x, S* y, cudaStream_t stream) {
  const int64_t size = f.samples * f.channels * f.y.out * f.x.out;
  if (epilogue == nullptr) return run_factors<S, false>(f, DeviceEpilogue<float>{}, x, y, stream);
  return run_factors<S, true>(f, DeviceEpilogue<float>(*epilogue, size), x, y, stream);
}

}  // namespace
}  // namespace stylegan::upfirdn2d::cuda
