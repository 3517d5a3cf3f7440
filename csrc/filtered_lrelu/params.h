// SPDX-License-Identifier: Apache-2.0
// The parameters of filtered_lrelu's kernels on both devices.
#pragma once

#include "lib/activation.h"
#include "lib/fir.h"
#include "lib/piecewise.h"

namespace stylegan::filtered_lrelu {

// Along an axis, with u and v on the grid between the two filters ("mid"):
//     u = fir(up, x + b), 0 <= t < up.out;  v = clamp(u * (u > 0 ? positive : negative));  y = fir(down, v)
// x is 0 outside of its samples, with no b there; v is 0 outside of [0, up.out). up.down = 1, down.up = 1,
// down.in = up.out. The derivative is the same op with the filters exchanged and a mask instead of signs.
struct Axis {
  FirAxis up, down;
};

// One of the two filters. taps: float, on the device, [kh, kw], or [k] for both axes if separable; null:
// one tap of 1.
struct FilterTaps {
  const void* taps;
  bool separable;
  bool flip;    // correlation: taps in the given order, else reversed
  double gain;  // factor on the sum
};

// Where the signs of u come from. own: u itself; written: u itself, and they are stored in the mask; given: the mask.
enum class Signs : int { own, written, given };

// The mask has two bits for each sample of u, in the order of memory of an image with the size of mid and the layout of
// x. Every row (contiguous: mid_w samples; channels_last: the channels of a pixel) begins with a word. Word i of a row
// holds its samples 16 i .. 16 i + 15: bit j is set if u > 0, bit 16 + j if the derivative passes the clamp (inside(v);
// always 1 without a clamp). Bits beyond the end of a row are undefined.
constexpr int kMaskSamples = 16;

// y [samples, channels, y.down.out, x.down.out] from x [samples, channels, y.up.in, x.up.in], contiguous or
// channels_last; all sizes but those of the input are at least 1.
struct Params {
  int64_t samples, channels;
  bool channels_last;
  Axis x, y;
  FilterTaps up, down;
  const void* b;  // float [channels], or null
  Slopes slopes;
  double clamp;  // infinity for none
  Signs signs;
  uint32_t* mask;  // see above; null with Signs::own, not written with Signs::given

  int64_t mask_row() const { return channels_last ? channels : x.up.out; }  // elements
  int64_t mask_words() const {
    const int64_t rows = samples * y.up.out * (channels_last ? x.up.out : channels);
    return rows * ceil_div(mask_row(), kMaskSamples);
  }
};

constexpr int64_t kMaxTaps = 32;  // along an axis, of either filter; up and down are 1, 2 or 4

}  // namespace stylegan::filtered_lrelu
