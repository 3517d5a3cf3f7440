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
// one is symmetric along y, as radial filters are, rows that share their taps are added first. The rings are in L2,
// and nothing of the up-sampled size exists beyond a few rows. Bound by multiplications: 72 for each element of y with
// 12 taps, up 2 and down 2, against 8 bytes of memory.

#include "filtered_lrelu/cpu/filtered_lrelu.h"

#include <vector>

#include "filtered_lrelu/cpu/plan.h"

namespace stylegan::filtered_lrelu::cpu {
namespace {

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

// One thread's share.
class Worker {
 public:
  explicit Worker(const Plan& plan) : plan_(plan), p_(plan.p), k_(plan.k) {}

  void task(int64_t index) {
    block_ = index % plan_.blocks;  // neighbours in memory one after the other
    index /= plan_.blocks;
    const int64_t column = index % plan_.tiles_x * plan_.width;
    index /= plan_.tiles_x;
    const int64_t row = index % plan_.tiles_y * plan_.height;
    sample_ = index / plan_.tiles_y;
    lay_out(column, row);
    const FirAxis& a = p_.y.down;
    const int64_t most = plan_.down.product ? 2 : 1;
    for (int64_t o = rows_.out.begin, count; o < rows_.out.end; o += count) {
      count = std::min(most, rows_.out.end - o);
      const int64_t first = std::max<int64_t>(o * a.down - a.origin, 0), last = o + count - 1;
      if (!plan_.keeps) next_ = std::max(next_, first);
      middle_until(std::min(last * a.down - a.origin + a.taps, a.in));
      make_rows(o, count);
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
    const int64_t folded = plan_.down.symmetric ? v_ * (p_.y.down.taps / 2) : 0;
    x_rows_.size = in_, x_rows_.slots = plan_.x_slots;
    ring_.size = product ? out_ : v_, ring_.slots = plan_.ring_slots;
    memory_.assign(in_ * (x_rows_.slots + 2) + v_ + ring_.size * ring_.slots + folded + 2 * round_up(out_, kPixel * kPixel) + kPixel, 0.0f);
    const int64_t beyond = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float) % kPixel;
    x_rows_.rows = memory_.data() + (beyond ? kPixel - beyond : 0);
    line_ = x_rows_.rows + in_ * x_rows_.slots;
    v_row_ = line_ + 2 * in_;
    ring_.rows = v_row_ + v_;
    folded_ = ring_.rows + ring_.size * ring_.slots;
    result_ = folded_ + folded;
    lay_out_phases();
    words_begin_ = floor_div(columns_.mid.begin, kMaskSamples) * kMaskSamples;
    words_.assign(plan_.p.mask == nullptr ? 0 : round_up(columns_.mid.end - words_begin_, kMaskSamples), 0);
    const int64_t wide = round_up(std::max(exists_.size(), columns_.out.size()), kPixel);
    planes_.assign(p_.channels_last ? (is_stored<float>(plan_.dtype) ? 0 : kPixel) : wide * kPixel, 0.0f);
    wide_ = wide;
    x_begin_ = x_end_ = 0;
    next_ = rows_.mid.begin;
    line_held_ = -1;
  }

  // The columns of the grid that meet the same taps along x.
  void lay_out_phases() {
    const FirAxis& a = p_.x.up;
    phases_.clear();
    for (int64_t phase = 0; phase < std::min(a.up, columns_.mid.size()); ++phase) {
      const int64_t column = columns_.mid.begin + phase, first = a.first_tap(column);
      const int64_t taps = first < a.taps ? (a.taps - first - 1) / a.up + 1 : 0;
      const int64_t at = (a.first_sample(column) - columns_.in.begin) * kPixel;
      phases_.push_back({first, taps, at, ceil_div(columns_.mid.size() - phase, a.up)});
    }
  }

  // Rows first .. last of x as pixels, with b: that they are in their slots.
  void hold(int64_t first, int64_t last) {
    if (first < x_begin_ || first > x_end_) x_begin_ = x_end_ = first;
    if (x_end_ > last) return;
    const int64_t end = std::min({last + kAhead, p_.y.up.in, rows_.in.end});
    for (; x_end_ < end; ++x_end_) fill(x_end_, x_rows_.at(x_end_));
    x_begin_ = std::max(x_begin_, x_end_ - x_rows_.slots);
  }

  void fill(int64_t i, float* row) {
    const int64_t count = exists_.size();
    float* const dst = row + (exists_.begin - columns_.in.begin) * kPixel;
    if (p_.channels_last) {
      const int64_t step = p_.channels, first = ((sample_ * p_.y.up.in + i) * p_.x.up.in + exists_.begin) * step + block_ * kPixel;
      if (is_stored<float>(plan_.dtype) && lanes_ == kPixel) {
        return k_.gather(static_cast<const float*>(plan_.x) + first, step, count, bias_, dst);
      }
      for (int64_t j = 0; j < count; ++j) {
        widen(plan_.dtype, plan_.x, first + j * step, lanes_, dst + j * kPixel);
        for (int64_t l = 0; l < kPixel; ++l) dst[j * kPixel + l] += bias_[l];
      }
      return;
    }
    const int64_t plane = p_.y.up.in * p_.x.up.in, first = block_ * kPixel * plane + i * p_.x.up.in + exists_.begin;
    if (is_stored<float>(plan_.dtype) && lanes_ == kPixel)
      return k_.to_pixels(static_cast<const float*>(plan_.x) + first, plane, count, bias_, dst);
    for (int64_t l = 0; l < lanes_; ++l) widen(plan_.dtype, plan_.x, first + l * plane, count, planes_.data() + l * wide_);
    k_.to_pixels(planes_.data(), wide_, count, bias_, dst);
  }

  // Rows of the grid between the filters up to `end`, and what the down filter makes of each along x.
  void middle_until(int64_t end) {
    const bool product = plan_.down.product;
    const auto shift = k_.shift[log2_of(p_.x.down.down)];
    const ShiftTerm term{plan_.down.x.data(), v_row_ + (columns_.window.begin - v_begin_) * kPixel};
    end = std::min(end, rows_.mid.end);
    float* slot = ring_.at(next_);
    for (; next_ < end; ++next_, slot = ring_.next(slot)) {
      float* const row = product ? v_row_ : slot;
      if (p_.signs == Signs::given) fetch_words(next_);
      middle_row(next_, row + (columns_.mid.begin - v_begin_) * kPixel);
      if (plan_.keeps && rows_.own.has(next_)) keep_words(next_);
      if (product) shift({&term, 1, p_.x.down.taps}, columns_.out.size(), slot, kPixel);
    }
  }

  void middle_row(int64_t t, float* v) {
    const FirAxis &a = p_.x.up, &b = p_.y.up;
    const bool product = plan_.up.product;
    int64_t count = 1;
    if (product) {
      shifts_[0].row = line_of(t);
    } else {
      const int64_t sample = b.first_sample(t), first = b.first_tap(t);
      const int64_t from = std::max<int64_t>(sample, 0), end = std::min(first < b.taps ? sample + (b.taps - first - 1) / b.up + 1 : sample, b.in);
      count = std::max<int64_t>(end - from, 0);
      if (count > 0) hold(from, end - 1);
      float* row = x_rows_.at(from);
      for (int64_t i = 0; i < count; ++i, row = x_rows_.next(row)) shifts_[i].row = row;
      first_row_ = first + (from - sample) * b.up;
    }
    uint32_t* words = p_.mask == nullptr ? nullptr : words_.data() + columns_.mid.begin - words_begin_;
    ShiftTerm terms[2][kMaxTaps];
    auto shifts = [&](const Phase& phase, ShiftTerm* of) {
      for (int64_t i = 0; i < count; ++i)
        of[i] = {plan_.phases.of(product ? 0 : first_row_ + i * b.up, phase.first), shifts_[i].row + phase.at};
      return Shifts{of, count, phase.taps};
    };
    const Middle middle{p_.slopes, p_.clamp, p_.signs, words, a.up};
    auto single = [&](size_t phase, int64_t begin) {
      const Phase& one = phases_[phase];
      Shifts s = shifts(one, terms[0]);
      for (int64_t i = 0; i < count; ++i) terms[0][i].row += begin * kPixel;
      Middle m = middle;
      m.words += words == nullptr ? 0 : static_cast<int64_t>(phase) + begin * a.up;
      k_.bend(s, one.pixels - begin, m, v + (static_cast<int64_t>(phase) + begin * a.up) * kPixel, a.up * kPixel);
    };
    for (size_t phase = 0; phase < phases_.size(); phase += 2) {
      if (phase + 1 == phases_.size() || count == 0) {
        single(phase, 0);
        if (phase + 1 < phases_.size()) single(phase + 1, 0);
        continue;
      }
      const int64_t both = phases_[phase + 1].pixels, at = static_cast<int64_t>(phase);
      Middle m = middle;
      m.words += words == nullptr ? 0 : at;
      k_.bend_two(shifts(phases_[phase], terms[0]), shifts(phases_[phase + 1], terms[1]), both, m, v + at * kPixel, a.up * kPixel);
      if (phases_[phase].pixels > both) single(phase, both);
    }
  }

  // The sum of the rows of x that row t of the grid meets. Where the next row meets the same it is made too.
  const float* line_of(int64_t t) {
    const FirAxis& a = p_.y.up;
    float* const second = line_ + in_;
    if (line_held_ == t) return second;
    const int64_t sample = a.first_sample(t), first = sample * a.up - (t - a.origin);
    const bool pair = first > 0 && a.taps % a.up == 0 && t + 1 < rows_.mid.end;  // the next row begins a tap earlier
    const int64_t from = std::max<int64_t>(sample, 0), end = std::min(sample + (a.taps - first + a.up - 1) / a.up, a.in);
    const int64_t count = std::max<int64_t>(end - from, 0), columns = columns_.in.size();
    if (count > 0) hold(from, end - 1);
    float* row = x_rows_.at(from);
    const float* tap = plan_.up.y.data() + first + (from - sample) * a.up;
    if (!pair) {
      RowTerm terms[kMaxTaps];
      for (int64_t i = 0; i < count; ++i, tap += a.up, row = x_rows_.next(row)) terms[i] = {*tap, row};
      k_.sum(terms, count, columns, line_, kPixel);
      return line_;
    }
    PairTerm terms[kMaxTaps];
    for (int64_t i = 0; i < count; ++i, tap += a.up, row = x_rows_.next(row)) terms[i] = {tap[0], tap[-1], row};
    k_.sum_pair(nullptr, 0, terms, count, nullptr, 0, columns, line_, second, kPixel);
    line_held_ = t + 1;
    return line_;
  }

  // Rows o .. o + count - 1 of y, count 1 or 2.
  void make_rows(int64_t o, int64_t count) {
    const FirAxis& a = p_.y.down;
    const int64_t top = o * a.down - a.origin, columns = columns_.out.size(), apart = p_.channels_last ? p_.channels : kPixel;
    float* results[2] = {result_, result_ + round_up(out_, kPixel * kPixel)};
    const bool direct = p_.channels_last && is_stored<float>(plan_.dtype) && lanes_ == kPixel;
    if (p_.channels_last) {
      const int64_t row = p_.x.down.out * p_.channels;
      const int64_t first = (sample_ * a.out + o) * row + columns_.out.begin * p_.channels + block_ * kPixel;
      if (direct) results[0] = static_cast<float*>(plan_.y) + first, results[1] = results[0] + row;
    }
    const int64_t step = direct ? apart : kPixel;
    if (!plan_.down.product) {
      sum_window(top, results[0], step);
    } else {
      const int64_t from = std::max<int64_t>(top, 0), end = std::min(top + a.taps + (count - 1) * a.down, a.in);
      RowTerm first[kMaxTaps], second[kMaxTaps];
      PairTerm both[kMaxTaps];
      int64_t firsts = 0, seconds = 0, boths = 0;
      float* row = ring_.at(from);
      for (int64_t k = from - top; k < end - top; ++k, row = ring_.next(row)) {
        const int64_t l = k - a.down;  // the tap of the second row of y
        const bool in_first = k < a.taps, in_second = count == 2 && l >= 0 && l < a.taps;
        if (in_first && in_second) both[boths++] = {plan_.down.y[k], plan_.down.y[l], row};
        else if (in_first) first[firsts++] = {plan_.down.y[k], row};
        else if (in_second) second[seconds++] = {plan_.down.y[l], row};
      }
      if (count == 1) k_.sum(first, firsts, columns, results[0], step);
      else k_.sum_pair(first, firsts, both, boths, second, seconds, columns, results[0], results[1], step);
    }
    if (!direct)
      for (int64_t i = 0; i < count; ++i) store_row(o + i, results[i]);
  }

  // A row of y by a 2-D filter.
  void sum_window(int64_t top, float* dst, int64_t step) {
    const FirAxis& a = p_.y.down;
    const int64_t width = p_.x.down.taps, at = (columns_.window.begin - v_begin_) * kPixel;
    const float* taps = plan_.down.both.data();
    ShiftTerm terms[kMaxTaps];
    int64_t count = 0;
    if (plan_.down.symmetric && 0 <= top && top + a.taps <= a.in) {
      for (; count < a.taps / 2; ++count) {
        const RowTerm pair[] = {{1.0f, ring_.at(top + count)}, {1.0f, ring_.at(top + a.taps - 1 - count)}};
        k_.sum(pair, 2, v_ / kPixel, folded_ + count * v_, kPixel);
        terms[count] = {taps + count * width, folded_ + count * v_ + at};
      }
      if (a.taps % 2) terms[count] = {taps + count * width, ring_.at(top + count) + at}, ++count;
    } else {
      for (int64_t k = std::max<int64_t>(-top, 0); k < std::min(a.taps, a.in - top); ++k)
        terms[count++] = {taps + k * width, ring_.at(top + k) + at};
    }
    k_.shift[log2_of(p_.x.down.down)]({terms, count, width}, columns_.out.size(), dst, step);
  }

  void store_row(int64_t o, const float* pixels) {
    const int64_t count = columns_.out.size(), width = p_.x.down.out, first = o * width + columns_.out.begin;
    if (p_.channels_last) {
      const int64_t at = (sample_ * p_.y.down.out * width + first) * p_.channels + block_ * kPixel;
      for (int64_t j = 0; j < count; ++j) store(plan_.dtype, plan_.y, at + j * p_.channels, lanes_, pixels + j * kPixel);
      return;
    }
    const int64_t plane = p_.y.down.out * width, at = block_ * kPixel * plane + first;
    if (is_stored<float>(plan_.dtype) && lanes_ == kPixel) return k_.to_rows(pixels, count, static_cast<float*>(plan_.y) + at, plane);
    k_.to_rows(pixels, count, planes_.data(), wide_);
    for (int64_t l = 0; l < lanes_; ++l) store(plan_.dtype, plan_.y, at + l * plane, count, planes_.data() + l * wide_);
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
  const Params& p_;
  const Kernels& k_;
  int64_t block_ = 0, sample_ = 0, lanes_ = 0;
  Reach columns_, rows_;
  Span exists_;                      // of the columns of x that taps meet
  int64_t v_begin_ = 0, next_ = 0;   // column where v rows begin; row of the grid that is made next
  int64_t in_ = 0, v_ = 0, out_ = 0, wide_ = 0;  // floats of a row of x, v, y in pixels; of a row of planes_
  float bias_[kPixel];
  std::vector<float> memory_, planes_;
  float *line_ = nullptr, *v_row_ = nullptr, *folded_ = nullptr, *result_ = nullptr;
  Ring x_rows_, ring_;               // ring_: of w rows, or of v rows
  int64_t x_begin_ = 0, x_end_ = 0;  // rows of x that are held
  int64_t line_held_ = -1;           // row of the grid that line_'s second half belongs to
  struct Phase {
    int64_t first, taps, at, pixels;  // first tap, taps; floats from the row's begin; columns
  };
  std::vector<Phase> phases_;
  ShiftTerm shifts_[kMaxTaps];
  int64_t first_row_ = 0;  // of a 2-D up filter
  int64_t words_begin_ = 0;
  std::vector<uint32_t> words_;
};

const Kernels& kernels_of(Isa isa) {
  const Isa has = supported(isa);
  const Kernels* found = has == Isa::avx512 ? avx512_kernels() : has == Isa::avx2 ? avx2_kernels() : nullptr;
  return found == nullptr ? *portable_kernels() : *found;
}

}  // namespace

void run(Dtype dtype, const Params& p, Isa isa, const void* x, void* y, const ParallelFor& parallel_for) {
  const Plan plan(dtype, p, kernels_of(isa), x, y);
  const int64_t grain = ceil_div(kGrainPixels, plan.width * plan.height);
  parallel_for(plan.tasks(), grain, [&](int64_t begin, int64_t end) {
    Worker worker(plan);
    for (int64_t task = begin; task < end; ++task) worker.task(task);
  });
}

}  // namespace stylegan::filtered_lrelu::cpu
