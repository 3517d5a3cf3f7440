// SPDX-License-Identifier: Apache-2.0
// Planes of bits, a block of kMaskBlock elements at a time.
#pragma once

#include "lib/cpu/convert.h"

namespace stylegan::cpu {

constexpr int64_t kLanes = kMaskBlock / 32;  // 32-bit words in a plane of one block

inline bool all_set(const uint32_t (&words)[kLanes]) {
  uint32_t all = ~0u;
  for (uint32_t word : words) all &= word;
  return all == ~0u;
}

// Bit k of word l stands for element k * kLanes + l, so that packing and unpacking are vector code. The functions
// that are passed in must capture by value, or the compiler assumes that every store changes what they captured.

// Returns whether all bits are set.
template <class F> bool pack(uint8_t* plane, int64_t first, const F& bit) {
  uint32_t words[kLanes] = {};
  for (int64_t k = 0; k < 32; ++k)
    for (int64_t l = 0; l < kLanes; ++l) words[l] |= static_cast<uint32_t>(bit(k * kLanes + l)) << k;
  std::memcpy(plane + first / 8, words, sizeof words);
  return all_set(words);
}

// use(i, bit) for all elements. skip_all_set: not if all bits are set.
template <class F> void unpack(const uint8_t* plane, int64_t first, bool skip_all_set, const F& use) {
  uint32_t words[kLanes];
  std::memcpy(words, plane + first / 8, sizeof words);
  if (skip_all_set && all_set(words)) return;
  for (int64_t k = 0; k < 32; ++k)
    for (int64_t l = 0; l < kLanes; ++l) use(k * kLanes + l, (words[l] >> k) & 1u);
}

// bit ? v : 0, on the bits of v. gcc 12 gets the plain choice wrong in some lanes when it compiles it to a masked
// operation of AVX-512VL (-fno-trapping-math -mprefer-vector-width=256).
inline float keep(float v, uint32_t bit) { return float_of(bits_of(v) & (0u - bit)); }
inline double keep(double v, uint32_t bit) {
  uint64_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  bits &= uint64_t(0) - bit;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

}  // namespace stylegan::cpu
