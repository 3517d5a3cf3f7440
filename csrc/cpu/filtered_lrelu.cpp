// SPDX-License-Identifier: Apache-2.0
// Tiling: a task makes a tile of y, some columns by some rows, of one pixel's 16 lanes: 16 channels for channels_last,
// 16 planes for contiguous images, which are turned into pixels as they are read and back as they are written. So
// every step is a sum of terms factor * row of pixels, and all of them are the same vector loop:
//     x row      with b, zeros outside, into a ring of rows;
//     line       = sum of x rows (up filter along y, only taps that meet a sample);
//     v row      = bend(sum of shifts of the line), one phase of the up filter after another;
//     w row      = sum of shifts of the v row at stride `down`, into a ring of rows;
//     y row      = sum of w rows.
// A 2-D up filter goes from the x rows to the v row at once, a 2-D down filter from a ring of v rows to y; where that
// one is symmetric along y, as radial filters are, rows that share their taps are added first. The rings are in L1,
// and nothing of the up-sampled size exists beyond a few rows. Bound by multiplications: 29 of a vector for each
// vector of y with 12 taps, up 2 and down 2, against 128 bytes of memory.

#include "filtered_lrelu.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "convert.h"
#include "filtered_lrelu_kernels.h"
#include "filtered_lrelu_reach.h"
#include "vector.h"

namespace stylegan::cpu {
namespace {

constexpr int64_t kLocalBytes = 56 << 10;     // of a task's rows: L1 and a little
constexpr int64_t kTaskRows = 64;             // of y, at least: what a task computes twice is small beside it
constexpr int64_t kWideTasks = 128;           // tasks that are enough for any machine
constexpr int64_t kGrainPixels = 1 << 11;     // of y that are worth a thread

// One of the filters in the order of correlation, its gain in the column (or in `both`).
struct Taps {
  std::vector<float> x, y, both;
  bool product = true, symmetric = false;  // symmetric: row i of `both` is row h - 1 - i

  Taps(const FilterTaps& f, int64_t w, int64_t h) {
    const float* taps = static_cast<const float*>(f.taps);
    const float gain = static_cast<float>(f.gain);
    product = taps == nullptr || f.separable;
    auto order = [&](std::vector<float>& v, float factor) {
      if (!f.flip) std::reverse(v.begin(), v.end());
      for (float& value : v) value *= factor;
    };
    if (product) {
      x.assign(w, 1.0f);
      if (taps != nullptr) x.assign(taps, taps + w);
      y = x;
      order(x, 1.0f);
      order(y, gain);
    } else {
      both.assign(taps, taps + w * h);
      order(both, gain);
      symmetric = h > 1;
      for (int64_t i = 0; i < h / 2; ++i)
        symmetric = symmetric && std::equal(&both[i * w], &both[i * w] + w, &both[(h - 1 - i) * w]);
    }
  }
};

const FilteredKernels& kernels_of(Isa isa) {
  const Isa has = supported(isa);
  const FilteredKernels* found = has == Isa::avx512 ? filtered_lrelu_avx512() : has == Isa::avx2 ? filtered_lrelu_avx2() : nullptr;
  return found == nullptr ? *filtered_lrelu_portable() : *found;
}

// Bit j of word i and bit i of word j exchanged, in both halves of the words.
void exchange_bits(uint32_t* words) {
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

int log2_of(int64_t factor) { return factor == 4 ? 2 : factor == 2 ? 1 : 0; }

// What all threads share.
struct Plan {
  Plan(Dtype dtype, const FilteredLrelu& p, Isa isa, const void* x, void* y)
      : dtype(dtype), p(p), k(kernels_of(isa)), x(x), y(y), up(p.up, p.x.up.taps, p.y.up.taps),
        down(p.down, p.x.down.taps, p.y.down.taps), keeps(p.signs == Signs::written),
        blocks(p.channels_last ? ceil_div(p.channels, kPixel) : ceil_div(p.samples * p.channels, kPixel)) {
    x_slots = ceil_div(p.y.up.taps, p.y.up.up) + 1;
    ring_slots = p.y.down.taps;
    const int64_t columns = p.x.down.out, most = most_columns();
    const int64_t even = keeps && !p.channels_last ? kPixel / std::min(kPixel, p.x.down.down) : 8;
    width = std::min(columns, round_up(ceil_div(columns, ceil_div(columns, most)), even));
    tiles_x = ceil_div(columns, width);
    const int64_t others = tiles_x * blocks * (p.channels_last ? p.samples : 1), rows = p.y.down.out;
    const int64_t parts = std::clamp<int64_t>(ceil_div(kWideTasks, others), 1, ceil_div(rows, kTaskRows));
    height = ceil_div(rows, parts);
    tiles_y = ceil_div(rows, height);
  }

  // Columns of y whose rows fit in kLocalBytes.
  int64_t most_columns() const {
    const int64_t per_line = x_slots + 1, up_x = p.x.up.up, down_x = p.x.down.down;
    int64_t most = 8;
    for (int64_t w = 8; w <= p.x.down.out + 8; w += 8) {
      const int64_t mid = (w - 1) * down_x + p.x.down.taps, in = mid / up_x + ceil_div(p.x.up.taps, up_x) + 1;
      const int64_t ring = down.product ? mid + ring_slots * w : ring_slots * mid;
      if ((in * per_line + ring) * kPixel * 4 > kLocalBytes) break;
      most = w;
    }
    return most;
  }

  int64_t tasks() const { return (p.channels_last ? p.samples : 1) * tiles_y * tiles_x * blocks; }

  const Dtype dtype;
  const FilteredLrelu p;
  const FilteredKernels& k;
  const void* const x;
  void* const y;
  const Taps up, down;
  const bool keeps;      // a mask
  const int64_t blocks;  // of lanes: of a sample, for channels_last
  int64_t x_slots, ring_slots;
  int64_t width, height, tiles_x, tiles_y;  // of y
};

// One thread's share.
class Worker {
 public:
  explicit Worker(const Plan& plan) : plan_(plan), p_(plan.p), k_(plan.k), row_of_x_(plan.x_slots) {}

  void task(int64_t index) {
    block_ = index % plan_.blocks;  // neighbours in memory one after the other
    index /= plan_.blocks;
    const int64_t column = index % plan_.tiles_x * plan_.width;
    index /= plan_.tiles_x;
    const int64_t row = index % plan_.tiles_y * plan_.height;
    sample_ = index / plan_.tiles_y;
    lay_out(column, row);
    const FirAxis& a = p_.y.down;
    for (int64_t o = rows_.out.begin; o < rows_.out.end; ++o) {
      const int64_t first = std::max<int64_t>(o * a.down - a.origin, 0);
      if (!plan_.keeps) next_ = std::max(next_, first);
      middle_until(std::min(o * a.down - a.origin + a.taps, a.in));
      make_row(o);
    }
    middle_until(rows_.mid.end);  // the rest of the mask
  }

 private:
  // Where everything of this task is.
  void lay_out(int64_t column, int64_t row) {
    const int64_t align = p_.channels_last ? 1 : kMaskSamples;
    columns_ = reach(p_.x, {column, std::min(column + plan_.width, p_.x.down.out)}, plan_.keeps, align);
    rows_ = reach(p_.y, {row, std::min(row + plan_.height, p_.y.down.out)}, plan_.keeps, 1);
    const int64_t all = p_.channels_last ? p_.channels : p_.samples * p_.channels;
    lanes_ = std::min(kPixel, all - block_ * kPixel);
    for (int64_t i = 0; i < kPixel; ++i) {
      const int64_t channel = (block_ * kPixel + i) % p_.channels;
      bias_[i] = p_.b == nullptr || i >= lanes_ ? 0 : static_cast<const float*>(p_.b)[channel];
    }
    // Where taps meet what does not exist there are zeros, and in lanes without a channel.
    exists_ = {std::clamp<int64_t>(columns_.in.begin, 0, p_.x.up.in), std::clamp<int64_t>(columns_.in.end, 0, p_.x.up.in)};
    in_ = columns_.in.size() * kPixel;
    v_begin_ = std::min(columns_.window.begin, columns_.mid.size() > 0 ? columns_.mid.begin : columns_.window.begin);
    v_ = (std::max(columns_.window.end, columns_.mid.end) - v_begin_) * kPixel;
    const bool product = plan_.down.product;
    out_ = columns_.out.size() * kPixel;
    const int64_t ring = plan_.ring_slots * (product ? out_ : v_), folded = plan_.down.symmetric ? v_ * (plan_.ring_slots / 2) : 0;
    memory_.assign(in_ * (plan_.x_slots + 1) + v_ + ring + folded + round_up(out_, kPixel * kPixel) + kPixel, 0.0f);
    const int64_t beyond = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float) % kPixel;
    x_rows_ = memory_.data() + (beyond ? kPixel - beyond : 0);
    line_ = x_rows_ + in_ * plan_.x_slots;
    v_row_ = line_ + in_;
    ring_ = v_row_ + v_;
    folded_ = ring_ + ring;
    result_ = folded_ + folded;
    words_begin_ = floor_div(columns_.mid.begin, kMaskSamples) * kMaskSamples;
    words_.assign(plan_.p.mask == nullptr ? 0 : round_up(columns_.mid.end - words_begin_, kMaskSamples), 0);
    const int64_t wide = round_up(std::max(exists_.size(), columns_.out.size()), kPixel);
    planes_.assign(p_.channels_last ? (is_stored<float>(plan_.dtype) ? 0 : kPixel) : wide * kPixel, 0.0f);
    wide_ = wide;
    std::fill(row_of_x_.begin(), row_of_x_.end(), -1);
    next_ = rows_.mid.begin;
    if (plan_.up.product) phase_terms(plan_.up.x.data(), line_, line_terms_, true);
    if (product) {
      down_terms_.clear();
      for (int64_t k = 0; k < p_.x.down.taps; ++k)
        down_terms_.push_back({plan_.down.x[k], v_row_ + (columns_.window.begin - v_begin_ + k) * kPixel});
    }
  }

  // The summands along x of every phase of the up filter, from a row of pixels that begins with column in.begin.
  void phase_terms(const float* factors, const float* row, std::vector<FloatTerms>& terms, bool clear) {
    const FirAxis& a = p_.x.up;
    terms.resize(a.up);
    for (int64_t phase = 0; phase < a.up; ++phase) {
      if (clear) terms[phase].clear();
      const int64_t t = columns_.mid.begin + phase;
      for (int64_t k = a.first_tap(t), i = a.first_sample(t) - columns_.in.begin; k < a.taps; k += a.up, ++i)
        terms[phase].push_back({factors[k], row + i * kPixel});
    }
  }

  // Row i of x as pixels, with b.
  const float* pixels(int64_t i) {
    const int64_t slot = i % plan_.x_slots, count = exists_.size();
    float* const row = x_rows_ + slot * in_;
    if (row_of_x_[slot] == i) return row;
    row_of_x_[slot] = i;
    float* const dst = row + (exists_.begin - columns_.in.begin) * kPixel;
    if (p_.channels_last) {
      const int64_t step = p_.channels, first = ((sample_ * p_.y.up.in + i) * p_.x.up.in + exists_.begin) * step + block_ * kPixel;
      if (i + 1 < p_.y.up.in) fetch<0>(plan_.x, first + p_.x.up.in * step, count);
      if (is_stored<float>(plan_.dtype) && lanes_ == kPixel) {
        k_.gather(static_cast<const float*>(plan_.x) + first, step, count, bias_, dst);
        return row;
      }
      for (int64_t j = 0; j < count; ++j) {
        widen(plan_.dtype, plan_.x, first + j * step, lanes_, dst + j * kPixel);
        for (int64_t l = 0; l < kPixel; ++l) dst[j * kPixel + l] += bias_[l];
      }
      return row;
    }
    for (int64_t l = 0; l < lanes_; ++l) {
      const int64_t plane = block_ * kPixel + l;
      widen(plan_.dtype, plan_.x, (plane * p_.y.up.in + i) * p_.x.up.in + exists_.begin, count, planes_.data() + l * wide_);
    }
    k_.to_pixels(planes_.data(), wide_, count, bias_, dst);
    return row;
  }

  // Begins to load pixels of a channels_last image, whose lines lie far apart.
  template <int kWrite> STYLEGAN_ALWAYS_INLINE void fetch(const void* base, int64_t first, int64_t count) {
#if defined(__GNUC__)
    const int64_t size = size_of(plan_.dtype), step = p_.channels * size;
    const char* at = static_cast<const char*>(base) + first * size;
    for (int64_t i = 0; i < count; ++i) __builtin_prefetch(at + i * step, kWrite);
#endif
  }

  // Rows of the grid between the filters up to `end`, and what the down filter makes of each along x.
  void middle_until(int64_t end) {
    for (; next_ < std::min(end, rows_.mid.end); ++next_) {
      const bool product = plan_.down.product;
      float* const slot = ring_ + next_ % plan_.ring_slots * (product ? out_ : v_);
      float* const row = product ? v_row_ : slot;
      middle_row(next_, row + (columns_.mid.begin - v_begin_) * kPixel);
      if (plan_.keeps && rows_.own.has(next_)) keep_words(next_);
      if (product) k_.sum[log2_of(p_.x.down.down)](down_terms_, columns_.out.size(), slot, kPixel);
    }
  }

  void middle_row(int64_t t, float* v) {
    const FirAxis& a = p_.y.up;
    if (columns_.mid.size() == 0) return;
    if (p_.signs == Signs::given) fetch_words(t);
    terms_.clear();
    for (FloatTerms& terms : both_terms_) terms.clear();
    for (int64_t k = a.first_tap(t), i = a.first_sample(t); k < a.taps; k += a.up, ++i) {
      if (i < 0 || i >= a.in) continue;
      if (plan_.up.product) terms_.push_back({plan_.up.y[k], pixels(i)});
      else phase_terms(plan_.up.both.data() + k * p_.x.up.taps, pixels(i), both_terms_, false);
    }
    if (plan_.up.product) k_.sum[0](terms_, columns_.in.size(), line_, kPixel);
    else both_terms_.resize(p_.x.up.up);
    const int64_t phases = p_.x.up.up;
    for (int64_t phase = 0; phase < std::min(phases, columns_.mid.size()); ++phase) {
      uint32_t* words = p_.mask == nullptr ? nullptr : words_.data() + columns_.mid.begin - words_begin_ + phase;
      const Middle middle{p_.slopes, p_.clamp, p_.signs, words, phases};
      const FloatTerms& terms = plan_.up.product ? line_terms_[phase] : both_terms_[phase];
      k_.activate(terms, ceil_div(columns_.mid.size() - phase, phases), middle, v + phase * kPixel, phases * kPixel);
    }
  }

  void make_row(int64_t o) {
    const FirAxis& a = p_.y.down;
    const int64_t top = o * a.down - a.origin, width = p_.x.down.taps;
    const bool whole = 0 <= top && top + a.taps <= a.in;
    terms_.clear();
    auto shifts = [&](const float* factors, const float* row) {
      for (int64_t k = 0; k < width; ++k)
        terms_.push_back({factors[k], row + (columns_.window.begin - v_begin_ + k) * kPixel});
    };
    auto slot = [&](int64_t t) { return ring_ + t % plan_.ring_slots * (plan_.down.product ? out_ : v_); };
    if (!plan_.down.product && plan_.down.symmetric && whole) {
      for (int64_t k = 0; k < a.taps / 2; ++k) {
        const FloatTerms pair{{1.0f, slot(top + k)}, {1.0f, slot(top + a.taps - 1 - k)}};
        k_.sum[0](pair, v_ / kPixel, folded_ + k * v_, kPixel);
        shifts(plan_.down.both.data() + k * width, folded_ + k * v_);
      }
      if (a.taps % 2) shifts(plan_.down.both.data() + a.taps / 2 * width, slot(top + a.taps / 2));
    } else {
      for (int64_t k = 0; k < a.taps; ++k) {
        if (top + k < 0 || top + k >= a.in) continue;
        if (plan_.down.product) terms_.push_back({plan_.down.y[k], slot(top + k)});
        else shifts(plan_.down.both.data() + k * width, slot(top + k));
      }
    }
    const auto sum = k_.sum[plan_.down.product ? 0 : log2_of(p_.x.down.down)];
    const int64_t count = columns_.out.size();
    if (p_.channels_last) {
      const int64_t step = p_.channels, first = ((sample_ * a.out + o) * p_.x.down.out + columns_.out.begin) * step + block_ * kPixel;
      if (o + 1 < a.out) fetch<1>(plan_.y, first + p_.x.down.out * step, count);
      if (is_stored<float>(plan_.dtype) && lanes_ == kPixel) return sum(terms_, count, static_cast<float*>(plan_.y) + first, step);
      sum(terms_, count, result_, kPixel);
      for (int64_t j = 0; j < count; ++j) store(plan_.dtype, plan_.y, first + j * step, lanes_, result_ + j * kPixel);
      return;
    }
    sum(terms_, count, result_, kPixel);
    k_.to_rows(result_, count, planes_.data(), wide_);
    for (int64_t l = 0; l < lanes_; ++l) {
      const int64_t plane = block_ * kPixel + l;
      store(plan_.dtype, plan_.y, (plane * a.out + o) * p_.x.down.out + columns_.out.begin, count, planes_.data() + l * wide_);
    }
  }

  // The words of row t between the mask and what tells of a pixel's lanes.
  uint32_t* word_of(int64_t t, int64_t column) const {
    const int64_t words = ceil_div(p_.mask_row(), kMaskSamples);
    return p_.mask + ((sample_ * p_.y.up.out + t) * p_.x.up.out + column) * words + block_;
  }
  uint32_t* words_of_plane(int64_t t, int64_t lane, int64_t column) const {
    const int64_t words = ceil_div(p_.mask_row(), kMaskSamples);
    return p_.mask + ((block_ * kPixel + lane) * p_.y.up.out + t) * words + column / kMaskSamples;
  }

  void keep_words(int64_t t) {
    const Span own = columns_.own;
    if (own.size() <= 0) return;
    if (p_.channels_last) {
      const int64_t step = ceil_div(p_.mask_row(), kMaskSamples);
      uint32_t* to = word_of(t, own.begin);
      for (int64_t i = own.begin; i < own.end; ++i, to += step) *to = words_[i - words_begin_];
      return;
    }
    for (int64_t i = own.begin; i < own.end; i += kMaskSamples) {
      uint32_t group[kMaskSamples];
      for (int64_t j = 0; j < kMaskSamples; ++j) group[j] = i + j < columns_.mid.end ? words_[i + j - words_begin_] : 0;
      exchange_bits(group);
      for (int64_t l = 0; l < lanes_; ++l) *words_of_plane(t, l, i) = group[l];
    }
  }

  void fetch_words(int64_t t) {
    if (p_.channels_last) {
      const int64_t step = ceil_div(p_.mask_row(), kMaskSamples);
      const uint32_t* from = word_of(t, columns_.mid.begin);
      for (int64_t i = columns_.mid.begin; i < columns_.mid.end; ++i, from += step) words_[i - words_begin_] = *from;
      return;
    }
    for (int64_t i = words_begin_; i < columns_.mid.end; i += kMaskSamples) {
      uint32_t* const group = words_.data() + i - words_begin_;
      for (int64_t l = 0; l < kPixel; ++l) group[l] = l < lanes_ ? *words_of_plane(t, l, i) : 0;
      exchange_bits(group);
    }
  }

  const Plan& plan_;
  const FilteredLrelu& p_;
  const FilteredKernels& k_;
  int64_t block_ = 0, sample_ = 0, lanes_ = 0;
  Reach columns_, rows_;
  Span exists_;                      // of the columns of x that taps meet
  int64_t v_begin_ = 0, next_ = 0;   // column where v rows begin; row of the grid that is made next
  int64_t in_ = 0, v_ = 0, out_ = 0, wide_ = 0;  // floats of a row of x, v, y in pixels; of a row of planes_
  float bias_[kPixel];
  std::vector<float> memory_, planes_;
  float *x_rows_ = nullptr, *line_ = nullptr, *v_row_ = nullptr, *ring_ = nullptr, *folded_ = nullptr, *result_ = nullptr;
  std::vector<int64_t> row_of_x_;  // in each slot of x_rows_
  int64_t words_begin_ = 0;
  std::vector<uint32_t> words_;
  FloatTerms terms_, down_terms_;
  std::vector<FloatTerms> line_terms_, both_terms_;
};

}  // namespace

void filtered_lrelu(Dtype dtype, const FilteredLrelu& p, Isa isa, const void* x, void* y, const ParallelFor& parallel_for) {
  const Plan plan(dtype, p, isa, x, y);
  const int64_t grain = ceil_div(kGrainPixels, plan.width * plan.height);
  parallel_for(plan.tasks(), grain, [&](int64_t begin, int64_t end) {
    Worker worker(plan);
    for (int64_t task = begin; task < end; ++task) worker.task(task);
  });
}

}  // namespace stylegan::cpu
