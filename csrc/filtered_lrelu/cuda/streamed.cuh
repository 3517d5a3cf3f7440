// SPDX-License-Identifier: Apache-2.0
// Which tiles, and which instance of the streaming kernel. A .cu for each dtype, so that they compile at once.
#pragma once

#include <algorithm>

#include "filtered_lrelu/cuda/march.cuh"

namespace stylegan::filtered_lrelu::cuda {

// Returns false and does nothing if the general kernel is needed.
bool try_stream(const Params&, const float* x, float* y, cudaStream_t);
bool try_stream(const Params&, const __half* x, __half* y, cudaStream_t);
bool try_stream(const Params&, const __nv_bfloat16* x, __nv_bfloat16* y, cudaStream_t);

namespace {

constexpr int64_t kMaxCoordinate = 1 << 28;     // sums of a few fit in 32 bits
constexpr int64_t kMaxTiles = 1 << 30;          // and one for each block more fit in 32 bits
constexpr int64_t kMaxBlocks = 1 << 13;  // 62 for each multiprocessor of an H100; of more tiles a block makes several
constexpr size_t kSharedEverywhere = 96 << 10;  // bytes that a block may have on every GPU since sm_80
constexpr int kWarp = 32;
constexpr int kMaxLanes = 256;  // for contiguous: the halo is 3 % then, and to compare them takes time

inline int multiprocessors() {
#if defined(__CUDACC__)
  int device = 0, count = 0;
  if (cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) == cudaSuccess)
    return count;
  throw std::runtime_error(std::string("filtered_lrelu: ") + cudaGetErrorString(cudaGetLastError()));
#else
  return 132;
#endif
}

// `lanes` threads for each channel of a block, tiles of `height` rows; width is 0 where not even a group of pixels
// fits.
template <class R> Stream stream_of(const Params& f, int lanes, int64_t height) {
  Stream p{};
  p.in_w = static_cast<int>(f.x.up.in), p.in_h = static_cast<int>(f.y.up.in);
  p.mid_w = static_cast<int>(f.x.up.out), p.mid_h = static_cast<int>(f.y.up.out);
  p.out_w = static_cast<int>(f.x.down.out), p.out_h = static_cast<int>(f.y.down.out);
  p.up_x = static_cast<int>(f.x.up.origin), p.up_y = static_cast<int>(f.y.up.origin);
  p.down_x = static_cast<int>(f.x.down.origin), p.down_y = static_cast<int>(f.y.down.origin);
  p.channels = static_cast<int>(f.channels), p.last = f.channels_last;
  p.units = p.last ? kUnits : 1, p.pixel = p.last ? p.channels : 1;
  p.lanes = lanes, p.columns = kColumns * lanes;
  // A word of the mask has to come from half a warp.
  const bool writes = f.signs == Signs::written;
  const int64_t unit = writes && !p.last ? kMaskSamples : 1;
  p.before = static_cast<int>(-f.x.down.origin - floor_div(-f.x.down.origin, unit) * unit);
  p.down_shift = -p.before & 3;
  const int64_t column = -f.x.down.origin - p.before - f.x.up.origin - 1;
  p.up_shift = static_cast<int>(column - floor_div(column, R::UP) * R::UP);
  const int multiple = std::max<int>(R::outs, static_cast<int>(unit) / R::DOWN);
  const int columns = p.columns - p.before - std::max(p.up_shift, p.down_shift) - (R::TD - R::DOWN) - 3;
  p.width = std::max(0, columns / R::DOWN / multiple * multiple);
  if (p.width == 0) return p;
  p.height = static_cast<int>(height);
  p.blocks = static_cast<int>(ceil_div(p.last ? f.channels : 1, p.units));
  if (!p.last) p.blocks = p.channels;
  int64_t last_x = ceil_div(p.out_w, p.width) - 1, last_y = ceil_div(p.out_h, p.height) - 1, first_x = 0, first_y = 0;
  if (writes) {  // every word of the mask, also those of which y has no need
    const int64_t wide = p.width * R::DOWN, high = height * R::DOWN, x0 = -p.down_x - p.before, y0 = -p.down_y;
    first_x = std::min<int64_t>(0, floor_div(-x0, wide)), last_x = std::max(last_x, floor_div(p.mid_w - 1 - x0, wide));
    first_y = std::min<int64_t>(0, floor_div(-y0, high)), last_y = std::max(last_y, floor_div(p.mid_h - 1 - y0, high));
  }
  p.first_x = static_cast<int>(first_x), p.tiles_x = static_cast<int>(last_x - first_x + 1);
  p.first_y = static_cast<int>(first_y), p.tiles_y = static_cast<int>(last_y - first_y + 1);
  p.work = f.samples * p.blocks * p.tiles_x * p.tiles_y;
  // Planes begin 4 banks apart, so that 8 threads with neighbouring channels take float4 from all banks.
  const auto plane = [&](int floats) { return p.last ? (floats + 27) / 32 * 32 + 4 : floats; };
  p.x_width = p.columns / R::UP + 8;
  p.load_rows = lanes / p.x_width, p.load_columns = lanes % p.x_width;
  p.x_plane = plane(R::x_rows * p.x_width), p.u_plane = plane(R::u_rows * p.columns);
  p.y_plane = plane(R::y_rows * p.columns);
  p.x_at = R::up_taps + R::down_taps, p.u_at = p.x_at + p.units * p.x_plane, p.y_at = p.u_at + p.units * p.u_plane;
  p.fu = static_cast<const float*>(f.up.taps), p.fd = static_cast<const float*>(f.down.taps);
  p.b = static_cast<const float*>(f.b);
  p.up_flip = f.up.flip, p.down_flip = f.down.flip;
  p.up_gain = static_cast<float>(f.up.gain), p.down_gain = static_cast<float>(f.down.gain);
  p.mask = f.mask, p.words = static_cast<int>((f.mask_row() + kMaskSamples - 1) / kMaskSamples);
  p.row_words = static_cast<int64_t>(p.words) * (p.last ? p.mid_w : 1);
  p.column_words = p.last ? static_cast<int64_t>(p.words) * lanes : lanes / kMaskSamples;
  p.activation = MidActivation(f);
  return p;
}

inline size_t shared_bytes(const Stream& p) {
  return (p.y_at + static_cast<size_t>(p.units) * p.y_plane) * sizeof(float);
}

// What the busiest multiprocessor has to do, in columns times rows of y. Below kBusy threads it is not kept busy.
template <class R> double cost_of(const Stream& p, int processors) {
  constexpr double kBusy = 256;  // two warps for each scheduler, with two columns each
  constexpr int kHalo = kPhase + kPhase * R::UP / R::DOWN;  // rows before the first of y
  const double threads = std::ceil(static_cast<double>(p.work) / processors) * p.lanes * p.units;
  return std::max(threads, kBusy) * (p.height + kHalo);
}

template <class S, int UP, int DOWN, Form F, bool kGiven>
bool run_stream(const Params& f, const S* x, S* y, cudaStream_t stream) {
  using R = Rates<UP, DOWN, F>;
  const int processors = multiprocessors();
  Stream best{};
  const bool last = f.channels_last;
  const int min_lanes = last ? 16 : kWarp, max_lanes = last ? R::max_threads / kUnits : kMaxLanes,
            step = last ? 8 : kWarp;
  for (int lanes = min_lanes; lanes <= max_lanes; lanes += step)
    for (int64_t parts = 1; parts <= 32; parts *= 2) {
      const int64_t height = ceil_div(ceil_div(f.y.down.out, parts), R::done) * R::done;
      const Stream p = stream_of<R>(f, lanes, height);
      if (p.width == 0 || shared_bytes(p) > kSharedEverywhere) continue;
      if (best.width == 0 || cost_of<R>(p, processors) < cost_of<R>(best, processors)) best = p;
      if (height <= kPhase) break;
    }
  if (best.width == 0 || best.work >= kMaxTiles) return false;
  constexpr int kBytes = R::outs * sizeof(S) < kAccess ? R::outs * sizeof(S) : kAccess;
  best.wide = !best.last && best.out_w % R::outs == 0 && reinterpret_cast<uintptr_t>(y) % kBytes == 0;
  const dim3 grid(static_cast<unsigned>(std::min(best.work, kMaxBlocks))), block(best.lanes * best.units);
  launch_shared(stream_kernel<S, UP, DOWN, F, kGiven>, grid, block, shared_bytes(best), stream, best, x, y);
  return true;
}

template <class R> bool has_taps(const Params& f) {
  const auto has = [](const FilterTaps& t, int64_t w, int64_t h, bool square, int64_t taps) {
    return t.taps != nullptr && t.separable != square && w == taps && h == taps;
  };
  return f.x.up.up == R::UP && f.x.down.down == R::DOWN && has(f.up, f.x.up.taps, f.y.up.taps, R::square_up, R::TU) &&
         has(f.down, f.x.down.taps, f.y.down.taps, R::square_down, R::TD);
}

// The kernels of one pair of factors. A 4-fold reduction and a 2-D filter in front are of derivatives only.
template <class S, int UP, int DOWN, Form F> bool run_rates(const Params& f, const S* x, S* y, cudaStream_t stream) {
  if (!has_taps<Rates<UP, DOWN, F>>(f)) return false;
  if (f.signs == Signs::given) return run_stream<S, UP, DOWN, F, true>(f, x, y, stream);
  if constexpr (DOWN <= 2 && F != Form::square_up) return run_stream<S, UP, DOWN, F, false>(f, x, y, stream);
  return false;
}

template <class S> bool run_streamed(const Params& f, const S* x, S* y, cudaStream_t stream) {
  if (f.channels >= kMaxCoordinate) return false;
  for (const Axis& a : {f.x, f.y})
    for (const int64_t size :
         {a.up.in * a.up.up, a.up.out, a.down.out * a.down.down, std::abs(a.up.origin), std::abs(a.down.origin)})
      if (size >= kMaxCoordinate) return false;
  return run_rates<S, 2, 2, Form::separable>(f, x, y, stream) || run_rates<S, 4, 2, Form::separable>(f, x, y, stream) ||
         run_rates<S, 2, 4, Form::separable>(f, x, y, stream) ||
         run_rates<S, 2, 2, Form::square_down>(f, x, y, stream) ||
         run_rates<S, 4, 2, Form::square_down>(f, x, y, stream) ||
         run_rates<S, 2, 2, Form::square_up>(f, x, y, stream) || run_rates<S, 2, 4, Form::square_up>(f, x, y, stream);
}

}  // namespace
}  // namespace stylegan::filtered_lrelu::cuda
