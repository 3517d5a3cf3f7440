// SPDX-License-Identifier: Apache-2.0
// Tiling: a block takes 16 x 16 pixels of up to 4 channels of one sample; see forward.cuh and adjoint.cuh. Bound by
// loads: forward, 7 x 7 from L1 for each of the 6.9 samples of v for a pixel (12 taps); DRAM sees x once and y once.
// The adjoint has a quarter of these loads, but writes and reads dv, 4 numbers for a pixel, in DRAM or L2.

#include "warp_affine/cuda/warp_affine.cuh"

#include <algorithm>

#include "lib/cuda/launch.cuh"
#include "warp_affine/cuda/adjoint.cuh"
#include "warp_affine/cuda/forward.cuh"

namespace stylegan::warp_affine::cuda {
namespace {

constexpr int64_t kMaxSide = 1 << 24;  // px: positions are exact as float, and fit in 32 bits four times over
constexpr int kMaxSamples = 65535;     // of a grid
constexpr int kPaperTaps = 12;         // of sym6

template <class T> Launch launch_of(const Params& p) {
  if (std::max(p.height, p.width) >= kMaxSide || p.samples >= INT32_MAX || p.channels >= INT32_MAX)
    throw std::runtime_error("warp_affine: x is too large");
  Launch l{};
  l.samples = static_cast<int>(p.samples), l.channels = static_cast<int>(p.channels);
  l.height = static_cast<int>(p.height), l.width = static_cast<int>(p.width), l.taps = static_cast<int>(p.taps);
  l.side = 2 * kTile + l.taps - 2;
  for (l.chunk = std::min(kChannels, l.channels); l.chunk > 1; --l.chunk)
    if (shared_numbers(l) * sizeof(T) <= kSharedUnasked) break;
  l.chunks = static_cast<int>(ceil_div(l.channels, l.chunk));
  l.tiles_x = static_cast<int>(ceil_div(l.width, kTile)), l.tiles_y = static_cast<int>(ceil_div(l.height, kTile));
  return l;
}

template <class S>
void run_dtype(const Params& p, const S* x, S* y, Arithmetic<S>* dv, cudaStream_t stream) {
  using T = Arithmetic<S>;
  const Launch l = launch_of<T>(p);
  const T *matrix = static_cast<const T*>(p.matrix), *f = static_cast<const T*>(p.f);
  const int64_t blocks = static_cast<int64_t>(l.tiles_x) * l.tiles_y * l.chunks;
  const int64_t size = workspace_size(p), expand = ceil_div(size, kThreads);
  if (std::max(blocks, expand) >= INT32_MAX) throw std::runtime_error("warp_affine: x is too large");
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min(l.samples, kMaxSamples)));
  const size_t shared = shared_numbers(l) * sizeof(T);
  if (p.adjoint) {
    launch(expand_kernel<S>, dim3(static_cast<unsigned>(expand)), dim3(kThreads), stream, l, size, f, x, dv);
    launch_shared(adjoint_kernel<S>, grid, dim3(kThreads), shared, stream, l, matrix, f, static_cast<const T*>(dv), y);
  } else if (l.taps == kPaperTaps) {
    launch_shared(forward_kernel<S, kPaperTaps>, grid, dim3(kThreads), shared, stream, l, matrix, f, x, y);
  } else {
    launch_shared(forward_kernel<S, 0>, grid, dim3(kThreads), shared, stream, l, matrix, f, x, y);
  }
}

}  // namespace

int64_t workspace_size(const Params& p) {
  return p.adjoint ? p.samples * p.channels * mid_size(p.height, p.taps) * mid_size(p.width, p.taps) : 0;
}

void run(Dtype dtype, const Params& p, const void* x, void* y, void* workspace, cudaStream_t stream) {
  with_stored(dtype, [&](auto s) {
    using S = decltype(s);
    run_dtype(p, static_cast<const S*>(x), static_cast<S*>(y), static_cast<Arithmetic<S>*>(workspace), stream);
  });
}

}  // namespace stylegan::warp_affine::cuda
