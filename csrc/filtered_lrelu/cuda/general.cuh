// SPDX-License-Identifier: Apache-2.0
// Tiling: a block makes a tile of y of one plane (channels_last: of up to 16 channels, one after another, because they
// share the words of the mask), with x, u and v of the tile in shared memory. A thread makes one sample at a time; a
// separable filter goes along the rows into another tile and then down the columns.
//
// For everything that the streaming kernel does not support: other numbers of taps, 2-D filters on both sides, factors
// of 1, no filter, sizes beyond 32 bits. Bound by shared memory: two words for each FMA.
#pragma once

#include <algorithm>

#include "filtered_lrelu/cuda/general_steps.cuh"
#include "lib/cuda/launch.cuh"

namespace stylegan::filtered_lrelu::cuda {
namespace {

constexpr int kMaxTile = 32;  // pixels of y along an axis: the halo of 12 taps is then less than the tile
// 62 for each multiprocessor of an H100; with more tiles a block makes several.
constexpr int64_t kMaxGeneralBlocks = 1 << 13;

template <class S>
__global__ void __launch_bounds__(kGeneralThreads)
    general_kernel(General p, const S* __restrict__ x, S* __restrict__ y) {
  STYLEGAN_DYNAMIC_SHARED(shared);
  const GeneralShared s(p, shared);
  stage_general(p.up, p.up_pairs, p.x.up_taps, p.y.up_taps, s.up_taps);
  stage_general(p.down, p.down_pairs, p.x.down_taps, p.y.down_taps, s.down_taps);
  const int pixel = p.last ? static_cast<int>(p.channels) : 1;
  for (int64_t work = blockIdx.x; work < p.work; work += gridDim.x) {
    const GeneralTile t(p, work);
    for (int unit = 0; unit < p.units && t.c0 + unit < p.channels; ++unit) {
      const int64_t c = t.c0 + unit;
      const GeneralPlane plane{unit, pixel, c, p.last ? t.n : t.n * p.channels + c, p.last ? c : 0};
      __syncthreads();
      load_general(p, t, plane, x, s.xs);
      up_general(p, t, s);
      activate_general(p, t, plane, s);
      down_general(p, t, plane, s, y);
    }
    __syncthreads();
  }
}

inline General general_of(const Params& f, int width, int height) {
  const bool writes = f.signs == Signs::written;
  const int unit = writes && !f.channels_last ? kMaskSamples : 1;
  General p{};
  p.x = GeneralAxis(f.x, width, unit, writes), p.y = GeneralAxis(f.y, height, 1, writes);
  p.samples = f.samples, p.channels = f.channels, p.last = f.channels_last;
  p.units = p.last ? kChannels : 1;
  p.blocks = ceil_div(f.channels, p.units), p.work = f.samples * p.blocks * p.x.tiles * p.y.tiles;
  p.up = f.up, p.down = f.down;
  p.up_pairs = f.up.separable || f.up.taps == nullptr, p.down_pairs = f.down.separable || f.down.taps == nullptr;
  p.b = static_cast<const float*>(f.b), p.activation = MidActivation(f), p.mask = f.mask,
  p.given = f.signs == Signs::given;
  p.words = ceil_div(f.mask_row(), kMaskSamples);
  p.down_at = p.up_count(), p.x_at = p.down_at + p.down_count();
  p.rows_at = p.x_at + p.y.in * p.x.in;
  p.mid_at = p.rows_at + (p.up_pairs ? p.y.in * p.x.mid : 0);
  p.out_at = p.mid_at + p.y.mid * p.x.mid;
  p.words_at = p.out_at + (p.down_pairs ? p.y.mid * p.x.size : 0);
  p.floats = p.words_at + (p.last && writes ? p.y.mid * p.x.mid : 0);
  return p;
}

template <class S> void run_general(const Params& f, const S* x, S* y, cudaStream_t stream) {
  // The largest tile that fits in the default limit of shared memory. The smallest, with 32 taps everywhere, takes a
  // few KiB more.
  int width = kMaxTile, height = kMaxTile;
  const int narrowest = kMaskSamples / static_cast<int>(f.x.down.down);  // tiles own whole words of the mask
  General p = general_of(f, width, height);
  while (p.floats * sizeof(float) > kSharedUnasked && (width > narrowest || height > 1)) {
    (width > narrowest && width >= height ? width : height) /= 2;
    p = general_of(f, width, height);
  }
  const dim3 grid(static_cast<unsigned>(std::min(p.work, kMaxGeneralBlocks)));
  launch_shared(general_kernel<S>, grid, dim3(kGeneralThreads), p.floats * sizeof(float), stream, p, x, y);
}

}  // namespace
}  // namespace stylegan::filtered_lrelu::cuda
