// SPDX-License-Identifier: Apache-2.0
// Included by filtered_lrelu_<isa>.cpp, in a namespace of its own, which says what Vector is, of kLanes floats, how many
// vectors of sums its registers hold, kSums, and STYLEGAN_TARGET, which allows the compiler these instructions.

#define STYLEGAN_INLINE STYLEGAN_TARGET STYLEGAN_ALWAYS_INLINE

constexpr int kVectors = kPixel / kLanes;  // of a pixel

STYLEGAN_INLINE Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
STYLEGAN_INLINE void store(float* p, const Vector& v) { *reinterpret_cast<Vector*>(p) = v; }

#include "filtered_lrelu/cpu/bits.h"

// sums[i] += factor * pixel i * D of p, for P pixels
template <int P, int D> STYLEGAN_INLINE void add(float factor, const float* p, Vector (&sums)[P * kVectors]) {
  STYLEGAN_OPAQUE(p);  // else the compiler keeps an index for each pixel, in more registers than there are
  STYLEGAN_UNROLL for (int i = 0; i < P; ++i)
    STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j)
      sums[i * kVectors + j] += factor * load(p + i * D * kPixel + j * kLanes);
}

template <int P> STYLEGAN_INLINE void put(const Vector (&sums)[P * kVectors], float* to, int64_t step) {
  STYLEGAN_UNROLL for (int i = 0; i < P; ++i, to += step) {
    STYLEGAN_OPAQUE(to);
    STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j) store(to + j * kLanes, sums[i * kVectors + j]);
  }
}

// Pixels from `begin` on, P at a time, the rest fewer at a time.
template <int P>
STYLEGAN_INLINE void sum_from(int64_t begin, int64_t pixels, const RowTerm* terms, int64_t count, float* dst, int64_t step) {
  for (; begin + P <= pixels; begin += P) {
    Vector sums[P * kVectors] = {};
    for (const RowTerm* t = terms; t != terms + count; ++t) add<P, 1>(t->factor, t->row + begin * kPixel, sums);
    put<P>(sums, dst + begin * step, step);
  }
  if constexpr (P > 1)
    if (begin < pixels) sum_from<P / 2>(begin, pixels, terms, count, dst, step);
}

STYLEGAN_TARGET void sum(const RowTerm* terms, int64_t count, int64_t pixels, float* dst, int64_t step) {
  sum_from<kSums / kVectors>(0, pixels, terms, count, dst, step);
}

struct PairOfSums {
  const RowTerm *first, *first_end;
  const PairTerm *both, *both_end;
  const RowTerm *second, *second_end;
};

template <int P>
STYLEGAN_INLINE void sum_pair_from(int64_t begin, int64_t pixels, const PairOfSums& p, float* dst_first, float* dst_second, int64_t step) {
  for (; begin + P <= pixels; begin += P) {
    Vector a[P * kVectors] = {}, b[P * kVectors] = {};
    for (const RowTerm* t = p.first; t != p.first_end; ++t) add<P, 1>(t->factor, t->row + begin * kPixel, a);
    for (const PairTerm* t = p.both; t != p.both_end; ++t) {
      const float first = t->first, second = t->second;
      const float* row = t->row + begin * kPixel;
      STYLEGAN_OPAQUE(row);
      STYLEGAN_UNROLL for (int i = 0; i < P * kVectors; ++i) {
        const Vector v = load(row + i * kLanes);
        a[i] += first * v;
        b[i] += second * v;
      }
    }
    for (const RowTerm* t = p.second; t != p.second_end; ++t) add<P, 1>(t->factor, t->row + begin * kPixel, b);
    put<P>(a, dst_first + begin * step, step);
    put<P>(b, dst_second + begin * step, step);
  }
  if constexpr (P > 1)
    if (begin < pixels) sum_pair_from<P / 2>(begin, pixels, p, dst_first, dst_second, step);
}

// The same of K rows that both sums have, with all factors in registers.
template <int P, int K>
STYLEGAN_INLINE void sum_rows_from(int64_t begin, int64_t pixels, const PairTerm* terms, float* dst_first, float* dst_second, int64_t step) {
  Vector first[K], second[K];
  STYLEGAN_UNROLL for (int k = 0; k < K; ++k) first[k] = Vector{} + terms[k].first, second[k] = Vector{} + terms[k].second;
  for (; begin + P <= pixels; begin += P) {
    Vector a[P] = {}, b[P] = {};
    STYLEGAN_UNROLL for (int k = 0; k < K; ++k) {
      const float* row = terms[k].row + begin * kPixel;
      STYLEGAN_UNROLL for (int i = 0; i < P; ++i) {
        const Vector v = load(row + i * kPixel);
        a[i] += first[k] * v;
        b[i] += second[k] * v;
      }
    }
    put<P>(a, dst_first + begin * step, step);
    put<P>(b, dst_second + begin * step, step);
  }
  if constexpr (P > 1)
    if (begin < pixels) sum_rows_from<P / 2, K>(begin, pixels, terms, dst_first, dst_second, step);
}

STYLEGAN_TARGET void sum_pair(const RowTerm* first, int64_t firsts, const PairTerm* both, int64_t boths, const RowTerm* second,
                              int64_t seconds, int64_t pixels, float* dst_first, float* dst_second, int64_t step) {
  constexpr int kAtOnce = kSums / kVectors / 2;
  if constexpr (kVectors == 1)
    if (firsts == 0 && seconds == 0 && boths == 6) return sum_rows_from<4, 6>(0, pixels, both, dst_first, dst_second, step);
  const PairOfSums p{first, first + firsts, both, both + boths, second, second + seconds};
  sum_pair_from<kAtOnce>(0, pixels, p, dst_first, dst_second, step);
}

// The sums of P pixels along rows, from `at` floats on; K: taps of a row, 0: any number. A known number of taps stays in
// registers, if there are enough of them, and every pixel is loaded once.
template <int P, int D, int K> STYLEGAN_INLINE void shifts(const Shifts& s, int64_t at, Vector (&sums)[P * kVectors]) {
  STYLEGAN_UNROLL for (int i = 0; i < P * kVectors; ++i) sums[i] = Vector{};
  for (const ShiftTerm* t = s.terms; t != s.terms + s.count; ++t) {
    const float* p = t->row + at;
    if constexpr (K == 0) {
      for (int64_t k = 0; k < s.taps; ++k, p += kPixel) add<P, D>(t->taps[k], p, sums);
    } else {
      STYLEGAN_OPAQUE(p);
      Vector taps[K];
      STYLEGAN_UNROLL for (int k = 0; k < K; ++k) taps[k] = Vector{} + t->taps[k];
      STYLEGAN_UNROLL_ALL for (int i = 0; i < (P - 1) * D + K; ++i) {
        const Vector v = load(p + i * kPixel);
        STYLEGAN_UNROLL for (int r = 0; r < P; ++r)
          if (0 <= i - r * D && i - r * D < K) sums[r] += taps[i - r * D] * v;
      }
    }
  }
}

template <int P, int D, int K>
STYLEGAN_INLINE void shift_from(int64_t begin, int64_t pixels, const Shifts& s, float* dst, int64_t step) {
  for (; begin + P <= pixels; begin += P) {
    Vector sums[P * kVectors];
    shifts<P, D, K>(s, begin * D * kPixel, sums);
    put<P>(sums, dst + begin * step, step);
  }
  if constexpr (P > 1)
    if (begin < pixels) shift_from<P / 2, D, P / 2 < 4 ? 0 : K>(begin, pixels, s, dst, step);
}

template <int D> STYLEGAN_TARGET void shift(const Shifts& s, int64_t pixels, float* dst, int64_t step) {
  constexpr int kAtOnce = kSums / kVectors;
  if constexpr (kVectors == 1 && D == 2)
    if (s.taps == 12) return shift_from<8, D, 12>(0, pixels, s, dst, step);
  shift_from<kAtOnce, D, 0>(0, pixels, s, dst, step);
}

// The slopes and the clamp for a run of pixels.
struct Slope {
  explicit STYLEGAN_INLINE Slope(const Middle& m)
      : negative(static_cast<float>(m.slopes.negative)), positive(static_cast<float>(m.slopes.positive)),
        limit(Vector{} + static_cast<float>(m.clamp)) {}
  // Whether the larger of u and negative * u is the value, even if that is infinite.
  STYLEGAN_INLINE bool ordered() const { return 0 < negative && negative <= 1 && positive == 1; }
  float negative, positive;
  Vector limit;
};

// One vector of a pixel, its bits from `lane` on in the word. NaN stays NaN, and infinity times a slope of 0 is 0, as
// in `sloped` and `clamped`.
template <Signs S, bool kClamp, bool kOrdered>
STYLEGAN_INLINE Vector bent(const Vector& u, const Slope& b, int lane, uint32_t& word) {
  const Vector zero{}, above = kOrdered ? u : b.positive * u;
  if constexpr (S == Signs::given) {
    const Vector high = kOrdered || b.positive != 0 ? above : zero;
    const Vector v = choose(word >> lane, high, kOrdered || b.negative != 0 ? b.negative * u : zero);
    return kClamp ? choose(word >> (kPixel + lane), v, zero) : v;
  }
  if constexpr (S == Signs::written) word |= bits_above(u, zero) << lane;
  Vector v;
  if constexpr (kOrdered) v = larger(b.negative * u, above);
  else v = where_above(u, zero, above, b.negative == 0 ? where_above(zero, u, zero, u) : b.negative * u);
  if constexpr (!kClamp) {
    if constexpr (S == Signs::written) word |= 0xffff0000u;
    return v;
  }
  const Vector cut = larger(-b.limit, smaller(b.limit, v));
  if constexpr (S == Signs::written) word |= bits_equal(v, cut) << (kPixel + lane);
  return cut;
}

// P pixels of sums: bent and stored.
template <int P, Signs S, bool kClamp, bool kOrdered>
STYLEGAN_INLINE void bend_and_put(Vector (&sums)[P * kVectors], const Slope& slope, uint32_t* words, int64_t word_step, float* to, int64_t step) {
  STYLEGAN_UNROLL for (int i = 0; i < P; ++i) {
    uint32_t word = S == Signs::given ? *words : 0;
    STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j)
      sums[i * kVectors + j] = bent<S, kClamp, kOrdered>(sums[i * kVectors + j], slope, j * static_cast<int>(kLanes), word);
    if (S == Signs::written) *words = word;
    if (S != Signs::own) words += word_step;
  }
  put<P>(sums, to, step);
}

template <int P, int K, Signs S, bool kClamp, bool kOrdered>
STYLEGAN_INLINE void bend_from(int64_t begin, int64_t pixels, const Shifts& s, const Middle& m, float* dst, int64_t step) {
  const Slope slope(m);
  for (; begin + P <= pixels; begin += P) {
    Vector sums[P * kVectors];
    shifts<P, 1, K>(s, begin * kPixel, sums);
    bend_and_put<P, S, kClamp, kOrdered>(sums, slope, m.words + begin * m.word_step, m.word_step, dst + begin * step, step);
  }
  if constexpr (P > 1)
    if (begin < pixels) bend_from<P / 2, P / 2 < 4 ? 0 : K, S, kClamp, kOrdered>(begin, pixels, s, m, dst, step);
}

// Two phases at once, of K taps each, the second of which begins kLater pixels after the first: every pixel is loaded
// once for both.
template <int P, int K, int kLater, Signs S, bool kClamp, bool kOrdered>
STYLEGAN_INLINE void bend_two_from(int64_t begin, int64_t pixels, const float* first, const float* second, const float* row,
                                   const Middle& m, float* dst, int64_t step) {
  const Slope slope(m);
  Vector f[K], g[K];
  STYLEGAN_UNROLL for (int k = 0; k < K; ++k) f[k] = Vector{} + first[k], g[k] = Vector{} + second[k];
  for (; begin + P <= pixels; begin += P) {
    Vector a[P] = {}, b[P] = {};
    const float* p = row + begin * kPixel;
    STYLEGAN_UNROLL_ALL for (int i = 0; i < P + K - 1 + kLater; ++i) {
      const Vector v = load(p + i * kPixel);
      STYLEGAN_UNROLL for (int r = 0; r < P; ++r) {
        if (0 <= i - r && i - r < K) a[r] += f[i - r] * v;
        if (0 <= i - kLater - r && i - kLater - r < K) b[r] += g[i - kLater - r] * v;
      }
    }
    uint32_t* words = m.words + begin * m.word_step;
    bend_and_put<P, S, kClamp, kOrdered>(a, slope, words, m.word_step, dst + begin * step, step);
    bend_and_put<P, S, kClamp, kOrdered>(b, slope, words + 1, m.word_step, dst + begin * step + kPixel, step);
  }
  if constexpr (P > 1)
    if (begin < pixels) bend_two_from<P / 2, K, kLater, S, kClamp, kOrdered>(begin, pixels, first, second, row, m, dst, step);
}

template <Signs S, bool kClamp, bool kOrdered>
STYLEGAN_TARGET void bend_all(const Shifts& s, const Shifts* second, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  if constexpr (kVectors == 1) {
    if (second != nullptr && second->terms->row == s.terms->row)
      return bend_two_from<8, 6, 0, S, kClamp, kOrdered>(0, pixels, s.terms->taps, second->terms->taps, s.terms->row, m, dst, step);
    if (second != nullptr)
      return bend_two_from<8, 6, 1, S, kClamp, kOrdered>(0, pixels, s.terms->taps, second->terms->taps, s.terms->row, m, dst, step);
    if (s.taps == 6) return bend_from<8, 6, S, kClamp, kOrdered>(0, pixels, s, m, dst, step);
  }
  bend_from<kSums / kVectors, 0, S, kClamp, kOrdered>(0, pixels, s, m, dst, step);
}

template <Signs S>
STYLEGAN_TARGET void bend_by(const Shifts& s, const Shifts* second, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  const bool clamps = m.clamp < std::numeric_limits<double>::infinity();
  if (Slope(m).ordered()) (clamps ? bend_all<S, true, true> : bend_all<S, false, true>)(s, second, pixels, m, dst, step);
  else (clamps ? bend_all<S, true, false> : bend_all<S, false, false>)(s, second, pixels, m, dst, step);
}

void bend_some(const Shifts& s, const Shifts* second, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  switch (m.signs) {
    case Signs::own: return bend_by<Signs::own>(s, second, pixels, m, dst, step);
    case Signs::written: return bend_by<Signs::written>(s, second, pixels, m, dst, step);
    case Signs::given: return bend_by<Signs::given>(s, second, pixels, m, dst, step);
  }
}

void bend(const Shifts& s, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  bend_some(s, nullptr, pixels, m, dst, step);
}

void bend_two(const Shifts& first, const Shifts& second, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  const int64_t later = second.terms->row - first.terms->row;
  const bool known = kVectors == 1 && first.count == 1 && first.taps == 6 && second.taps == 6 && (later == 0 || later == kPixel);
  if (known) return bend_some(first, &second, pixels, m, dst, step);
  Middle shifted = m;
  shifted.words += m.words != nullptr;
  bend(first, pixels, m, dst, step);
  bend(second, pixels, shifted, dst + kPixel, step);
}

STYLEGAN_TARGET void gather(const float* x, int64_t step, int64_t pixels, const float* b, float* dst) {
  Vector shift[kVectors];
  STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j) shift[j] = load(b + j * kLanes);
  for (int64_t i = 0; i < pixels; ++i)
    STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j)
      store(dst + i * kPixel + j * kLanes, load(x + i * step + j * kLanes) + shift[j]);
}

// to[c, r] = from[r, c] + shift[r], kPixel x kPixel floats.
STYLEGAN_INLINE void transpose(const float* from, int64_t from_row, const float* shift, float* to, int64_t to_row) {
  constexpr int kSide = static_cast<int>(kLanes);
  for (int64_t r = 0; r < kPixel; r += kSide) {
    const Vector b = load(shift + r);
    for (int64_t c = 0; c < kPixel; c += kSide) {
      Vector v[kSide];
      STYLEGAN_UNROLL for (int i = 0; i < kSide; ++i) v[i] = load(from + (r + i) * from_row + c);
      exchange(v);
      STYLEGAN_UNROLL for (int i = 0; i < kSide; ++i) store(to + (c + i) * to_row + r, v[i] + b);
    }
  }
}

STYLEGAN_TARGET void to_pixels(const float* rows, int64_t row, int64_t pixels, const float* b, float* dst) {
  for (; pixels >= kPixel; pixels -= kPixel, rows += kPixel, dst += kPixel * kPixel) transpose(rows, row, b, dst, kPixel);
  for (int64_t i = 0; i < pixels; ++i)
    for (int64_t j = 0; j < kPixel; ++j) dst[i * kPixel + j] = rows[j * row + i] + b[j];
}

STYLEGAN_TARGET void to_rows(const float* from, int64_t pixels, float* rows, int64_t row) {
  const float zero[kPixel] = {};
  for (; pixels >= kPixel; pixels -= kPixel, rows += kPixel, from += kPixel * kPixel) transpose(from, kPixel, zero, rows, row);
  for (int64_t j = 0; j < kPixel; ++j)
    for (int64_t i = 0; i < pixels; ++i) rows[j * row + i] = from[i * kPixel + j];
}

const Kernels kKernels = {sum, sum_pair, {shift<1>, shift<2>, shift<4>}, bend, bend_two, gather, to_pixels, to_rows};
