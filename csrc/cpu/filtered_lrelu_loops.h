// SPDX-License-Identifier: Apache-2.0
// Included by filtered_lrelu_<isa>.cpp, in a namespace of its own, which says what Vector is, of kLanes floats, how many
// vectors of sums its registers hold, kSums, and STYLEGAN_TARGET, which allows the compiler these instructions.

#define STYLEGAN_INLINE STYLEGAN_TARGET STYLEGAN_ALWAYS_INLINE

constexpr int kVectors = kPixel / kLanes;  // of a pixel

STYLEGAN_INLINE Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
STYLEGAN_INLINE void store(float* p, const Vector& v) { *reinterpret_cast<Vector*>(p) = v; }

#include "filtered_lrelu_bits.h"

// The sums of P pixels from `at` on, at stride D.
template <int P, int D>
STYLEGAN_INLINE void add_up(const FloatTerms& terms, int64_t at, Vector (&sums)[P * kVectors]) {
  STYLEGAN_UNROLL for (int i = 0; i < P * kVectors; ++i) sums[i] = Vector{};
  const Term<float>* const end = terms.data() + terms.size();
  for (const Term<float>* term = terms.data(); term != end; ++term) {
    const float factor = term->factor;
    const float* p = term->source + at;
    STYLEGAN_OPAQUE(p);  // else the compiler keeps an index for each pixel, in more registers than there are
    STYLEGAN_UNROLL for (int i = 0; i < P; ++i)
      STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j)
        sums[i * kVectors + j] += factor * load(p + i * D * kPixel + j * kLanes);
  }
}

// Pixels from `begin` on, P at a time, the rest fewer at a time.
template <int P, int D>
STYLEGAN_INLINE void sum_from(int64_t begin, int64_t end, const FloatTerms& terms, float* dst, int64_t step) {
  for (; begin + P <= end; begin += P) {
    Vector sums[P * kVectors];
    add_up<P, D>(terms, begin * D * kPixel, sums);
    float* to = dst + begin * step;
    STYLEGAN_UNROLL for (int i = 0; i < P; ++i, to += step) {
      STYLEGAN_OPAQUE(to);
      STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j) store(to + j * kLanes, sums[i * kVectors + j]);
    }
  }
  if constexpr (P > 1)
    if (begin < end) sum_from<P / 2, D>(begin, end, terms, dst, step);
}

template <int D> STYLEGAN_TARGET void sum(const FloatTerms& terms, int64_t pixels, float* dst, int64_t step) {
  sum_from<kSums / kVectors, D>(0, pixels, terms, dst, step);
}

// The slopes and the clamp for a run of pixels.
struct Bend {
  explicit STYLEGAN_INLINE Bend(const Middle& m)
      : negative(static_cast<float>(m.slopes.negative)), positive(static_cast<float>(m.slopes.positive)),
        clamp(static_cast<float>(m.clamp)), ordered(0 < negative && negative <= positive), limit(Vector{} + clamp) {}
  float negative, positive, clamp;
  bool ordered;  // then the larger product is the value
  Vector limit;
};

// One vector of a pixel, its bits from `lane` on in the word. NaN stays NaN, and infinity times a slope of 0 is 0, as
// in `sloped` and `clamped`.
template <Signs S, bool kClamp>
STYLEGAN_INLINE Vector bent(const Vector& u, const Bend& b, int lane, uint32_t& word) {
  const Vector zero{}, above = b.positive * u;
  if constexpr (S == Signs::given) {
    const Vector v = choose(word >> lane, above, b.negative == 0 ? zero : b.negative * u);
    return kClamp ? choose(word >> (kPixel + lane), v, zero) : v;
  }
  if constexpr (S == Signs::written) word |= bits_above(u, zero) << lane;
  Vector v;
  if (b.ordered) v = larger(b.negative * u, above);
  else v = where_above(u, zero, above, b.negative == 0 ? where_above(zero, u, zero, u) : b.negative * u);
  if constexpr (!kClamp) {
    if constexpr (S == Signs::written) word |= 0xffff0000u;
    return v;
  }
  if constexpr (S == Signs::written) word |= (bits_at_most(v, b.limit) & bits_at_most(-b.limit, v)) << (kPixel + lane);
  return larger(-b.limit, smaller(b.limit, v));
}

template <int P, Signs S, bool kClamp>
STYLEGAN_INLINE void bend_from(int64_t begin, int64_t end, const FloatTerms& terms, const Middle& m, float* dst, int64_t step) {
  const Bend bend(m);
  for (; begin + P <= end; begin += P) {
    Vector sums[P * kVectors];
    add_up<P, 1>(terms, begin * kPixel, sums);
    float* to = dst + begin * step;
    uint32_t* words = m.words + begin * m.word_step;
    STYLEGAN_UNROLL for (int i = 0; i < P; ++i, to += step) {
      STYLEGAN_OPAQUE(to);
      uint32_t word = S == Signs::given ? *words : 0;
      STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j)
        store(to + j * kLanes, bent<S, kClamp>(sums[i * kVectors + j], bend, j * static_cast<int>(kLanes), word));
      if (S == Signs::written) *words = word;
      if (S != Signs::own) words += m.word_step;
    }
  }
  if constexpr (P > 1)
    if (begin < end) bend_from<P / 2, S, kClamp>(begin, end, terms, m, dst, step);
}

template <Signs S>
STYLEGAN_TARGET void bend(const FloatTerms& terms, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  constexpr int kAtOnce = kSums / kVectors / 2 > 0 ? kSums / kVectors / 2 : 1;
  if (m.clamp < std::numeric_limits<double>::infinity()) bend_from<kAtOnce, S, true>(0, pixels, terms, m, dst, step);
  else bend_from<kAtOnce, S, false>(0, pixels, terms, m, dst, step);
}

STYLEGAN_TARGET void activate(const FloatTerms& terms, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  switch (m.signs) {
    case Signs::own: return bend<Signs::own>(terms, pixels, m, dst, step);
    case Signs::written: return bend<Signs::written>(terms, pixels, m, dst, step);
    case Signs::given: return bend<Signs::given>(terms, pixels, m, dst, step);
  }
}

STYLEGAN_TARGET void gather(const float* x, int64_t step, int64_t pixels, const float* b, float* dst) {
  Vector shift[kVectors];
  STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j) shift[j] = load(b + j * kLanes);
  for (int64_t i = 0; i < pixels; ++i)
    STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j)
      store(dst + i * kPixel + j * kLanes, load(x + i * step + j * kLanes) + shift[j]);
}

// Rows and columns of kPixel x kPixel floats exchanged.
STYLEGAN_INLINE void transpose(const float* from, int64_t from_row, float* to, int64_t to_row) {
  constexpr int kSide = static_cast<int>(kLanes);
  for (int64_t r = 0; r < kPixel; r += kSide)
    for (int64_t c = 0; c < kPixel; c += kSide) {
      Vector v[kSide];
      STYLEGAN_UNROLL for (int i = 0; i < kSide; ++i) v[i] = load(from + (r + i) * from_row + c);
      exchange(v);
      STYLEGAN_UNROLL for (int i = 0; i < kSide; ++i) store(to + (c + i) * to_row + r, v[i]);
    }
}

STYLEGAN_TARGET void to_pixels(const float* rows, int64_t row, int64_t pixels, const float* b, float* dst) {
  for (int64_t i = 0; i < pixels; i += kPixel) {
    const int64_t count = std::min(kPixel, pixels - i);
    float group[kPixel * kPixel];
    transpose(rows + i, row, group, kPixel);
    gather(group, kPixel, count, b, dst + i * kPixel);
  }
}

STYLEGAN_TARGET void to_rows(const float* pixels, int64_t count, float* rows, int64_t row) {
  for (int64_t i = 0; i < count; i += kPixel) transpose(pixels + i * kPixel, kPixel, rows + i, row);
}

const FilteredKernels kKernels = {{sum<1>, sum<2>, sum<4>}, activate, gather, to_pixels, to_rows};
