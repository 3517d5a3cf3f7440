// SPDX-License-Identifier: Apache-2.0
// The parameters of bias_act's kernels on both devices.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>

#include "lib/activation.h"
#include "lib/piecewise.h"

namespace stylegan::bias_act {

// Where a per-channel vector meets dense memory: the element at flat position i, in [0, size), belongs
// to channel (i / inner) % channels. This holds for every dense layout. inner is the stride of the channel dimension:
// H*W for contiguous images, 1 for channels_last.
struct Channels {
  int64_t size, channels, inner;
};

struct ActParams {
  Act act;
  double alpha, gain, clamp;  // clamp: infinity means no clamp
};

// Only lrelu uses alpha. A negative clamp means no clamp.
inline ActParams act_params(Act act, double alpha, double gain, double clamp) {
  clamp = clamp_or_infinity(clamp);
  if (act == Act::selu) return {Act::elu, kSeluAlpha, gain * kSeluScale, clamp};
  if (act == Act::elu) alpha = 1;
  return {act, alpha, gain, clamp};
}

inline bool has_clamp(const ActParams& p) { return p.clamp < std::numeric_limits<double>::infinity(); }

// How many planes of bits the derivatives of a piecewise linear activation need.
inline int mask_planes(const ActParams& p) { return has_clamp(p) ? 2 : p.act == Act::linear ? 0 : 1; }

// f(tag), with the activation as tag::value.
template <Act A> struct ActTag {
  static constexpr Act value = A;
};

template <class F> void with_smooth_act(Act act, F&& f) {
  switch (act) {
    case Act::tanh: return f(ActTag<Act::tanh>());
    case Act::sigmoid: return f(ActTag<Act::sigmoid>());
    case Act::elu: return f(ActTag<Act::elu>());
    case Act::softplus: return f(ActTag<Act::softplus>());
    case Act::swish: return f(ActTag<Act::swish>());
    default: throw std::invalid_argument("bias_act: not a smooth activation");
  }
}

template <class F> void with_act(Act act, F&& f) {
  switch (act) {
    case Act::linear: return f(ActTag<Act::linear>());
    case Act::relu: return f(ActTag<Act::relu>());
    case Act::lrelu: return f(ActTag<Act::lrelu>());
    default: return with_smooth_act(act, f);
  }
}

}  // namespace stylegan::bias_act
