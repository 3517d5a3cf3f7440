// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "filtered_lrelu/cpu/tile.h"

namespace stylegan::filtered_lrelu::cpu {

// Bit j of word i and bit i of word j exchanged, in both halves of 16 words.
inline void exchange_bits(uint32_t* words) {
  const uint32_t low[4] = {0x55555555, 0x33333333, 0x0f0f0f0f, 0x00ff00ff};
  for (int s = 0; s < 4; ++s) {
    const int apart = 1 << s;
    for (int i = 0; i < 16; ++i) {
      if (i & apart) continue;
      const uint32_t a = words[i], b = words[i + apart];
      words[i] = (a & low[s]) | ((b & low[s]) << apart);
      words[i + apart] = ((a >> apart) & low[s]) | (b & ~low[s]);
    }
  }
}

// A row of the mask as the loops take it: a word for each pixel, a bit for each of its lanes. In memory a word holds
// channels (channels_last) or neighbours in a row, see params.h.
class MaskRows {
 public:
  MaskRows(const Plan& plan, const Tile& tile) : p_(plan.p), tile_(tile) {}

  // Begins another tile.
  void begin() {
    begin_ = floor_div(tile_.columns.mid.begin, kMaskSamples) * kMaskSamples;
    words_.assign(p_.mask == nullptr ? 0 : round_up(tile_.columns.mid.end - begin_, kMaskSamples), 0);
  }

  // The words of the tile's columns of the grid; null without a mask.
  uint32_t* words() { return p_.mask == nullptr ? nullptr : words_.data() + tile_.columns.mid.begin - begin_; }

  // Row t of the grid, from memory.
  void fetch(int64_t t) {
    const Span mid = tile_.columns.mid;
    if (p_.channels_last) {
      const int64_t step = row_words();
      const uint32_t* from = word_of(t, mid.begin);
      for (int64_t i = mid.begin; i < mid.end; ++i, from += step) words_[i - begin_] = *from;
      return;
    }
    for (int64_t i = begin_; i < mid.end; i += kMaskSamples) {
      uint32_t* const group = words_.data() + i - begin_;
      for (int64_t l = 0; l < kPixel; ++l) group[l] = l < tile_.lanes ? *word_of_plane(t, l, i) : 0;
      exchange_bits(group);
    }
  }

  // Row t of the grid, as far as the tile owns it, to memory.
  void keep(int64_t t) {
    const Span own = tile_.columns.own;
    if (own.size() <= 0) return;
    if (p_.channels_last) {
      const int64_t step = row_words();
      uint32_t* to = word_of(t, own.begin);
      for (int64_t i = own.begin; i < own.end; ++i, to += step) *to = words_[i - begin_];
      return;
    }
    for (int64_t i = own.begin; i < own.end; i += kMaskSamples) {
      uint32_t group[kMaskSamples];
      for (int64_t j = 0; j < kMaskSamples; ++j) group[j] = i + j < tile_.columns.mid.end ? words_[i + j - begin_] : 0;
      exchange_bits(group);
      for (int64_t l = 0; l < tile_.lanes; ++l) *word_of_plane(t, l, i) = group[l];
    }
  }

 private:
  int64_t row_words() const { return ceil_div(p_.mask_row(), kMaskSamples); }
  uint32_t* word_of(int64_t t, int64_t column) const {
    return p_.mask + ((tile_.sample * p_.y.up.out + t) * p_.x.up.out + column) * row_words() + tile_.block;
  }
  uint32_t* word_of_plane(int64_t t, int64_t lane, int64_t column) const {
    return p_.mask + ((tile_.block * kPixel + lane) * p_.y.up.out + t) * row_words() + column / kMaskSamples;
  }

  const Params& p_;
  const Tile& tile_;
  int64_t begin_ = 0;  // column of the first word
  std::vector<uint32_t> words_;
};

}  // namespace stylegan::filtered_lrelu::cpu
