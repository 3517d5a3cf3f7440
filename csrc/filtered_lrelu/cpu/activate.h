// SPDX-License-Identifier: Apache-2.0
// Included by loops.h: sums along the rows, and the activation with its mask.

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
STYLEGAN_INLINE Vector activated(const Vector& u, const Slope& b, int lane, uint32_t& word) {
  const Vector zero{}, above = kOrdered ? u : b.positive * u;
  if constexpr (S == Signs::given) {
    const Vector high = kOrdered || b.positive != 0 ? above : zero;
    const Vector v = choose(word >> lane, high, kOrdered || b.negative != 0 ? b.negative * u : zero);
    return kClamp ? choose(word >> (kPixel + lane), v, zero) : v;
  }
  if constexpr (S == Signs::written) word |= bits_above(u, zero) << lane;
  Vector v;
  if constexpr (kOrdered)
    v = vector_max(b.negative * u, above);
  else
    v = where_above(u, zero, above, b.negative == 0 ? where_above(zero, u, zero, u) : b.negative * u);
  if constexpr (!kClamp) {
    if constexpr (S == Signs::written) word |= 0xffff0000u;
    return v;
  }
  const Vector cut = vector_max(-b.limit, vector_min(b.limit, v));
  if constexpr (S == Signs::written) word |= bits_equal(v, cut) << (kPixel + lane);
  return cut;
}

// P pixels of sums: activated and stored.
template <int P, Signs S, bool kClamp, bool kOrdered>
STYLEGAN_INLINE void activate_and_put(Vector (&sums)[P * kVectors], const Slope& slope, uint32_t* words,
                                      int64_t word_step, float* to, int64_t step) {
  STYLEGAN_UNROLL for (int i = 0; i < P; ++i) {
    uint32_t word = S == Signs::given ? *words : 0;
    STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j) sums[i * kVectors + j] =
        activated<S, kClamp, kOrdered>(sums[i * kVectors + j], slope, j * static_cast<int>(kLanes), word);
    if (S == Signs::written) *words = word;
    if (S != Signs::own) words += word_step;
  }
  put<P>(sums, to, step);
}

template <int P, int K, Signs S, bool kClamp, bool kOrdered>
STYLEGAN_INLINE void activate_from(int64_t begin, int64_t pixels, const Shifts& s, const Middle& m, float* dst,
                                   int64_t step) {
  const Slope slope(m);
  for (; begin + P <= pixels; begin += P) {
    Vector sums[P * kVectors];
    shifts<P, 1, K>(s, begin * kPixel, sums);
    activate_and_put<P, S, kClamp, kOrdered>(sums, slope, m.words + begin * m.word_step, m.word_step,
                                             dst + begin * step, step);
  }
  if constexpr (P > 1)
    if (begin < pixels) activate_from<P / 2, P / 2 < 4 ? 0 : K, S, kClamp, kOrdered>(begin, pixels, s, m, dst, step);
}

// Two phases at once, of K taps each, the second of which begins kLater pixels after the first: every pixel is loaded
// once for both.
template <int P, int K, int kLater, Signs S, bool kClamp, bool kOrdered>
STYLEGAN_INLINE void activate_pair_from(int64_t begin, int64_t pixels, const float* first, const float* second,
                                        const float* row, const Middle& m, float* dst, int64_t step) {
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
    activate_and_put<P, S, kClamp, kOrdered>(a, slope, words, m.word_step, dst + begin * step, step);
    activate_and_put<P, S, kClamp, kOrdered>(b, slope, words + 1, m.word_step, dst + begin * step + kPixel, step);
  }
  if constexpr (P > 1)
    if (begin < pixels)
      activate_pair_from<P / 2, K, kLater, S, kClamp, kOrdered>(begin, pixels, first, second, row, m, dst, step);
}

template <Signs S, bool kClamp, bool kOrdered>
STYLEGAN_TARGET void activate_taps(const Shifts& s, const Shifts* second, int64_t pixels, const Middle& m, float* dst,
                                   int64_t step) {
  if constexpr (kVectors == 1) {
    if (second != nullptr && second->terms->row == s.terms->row)
      return activate_pair_from<8, 6, 0, S, kClamp, kOrdered>(0, pixels, s.terms->taps, second->terms->taps,
                                                              s.terms->row, m, dst, step);
    if (second != nullptr)
      return activate_pair_from<8, 6, 1, S, kClamp, kOrdered>(0, pixels, s.terms->taps, second->terms->taps,
                                                              s.terms->row, m, dst, step);
    if (s.taps == 6) return activate_from<8, 6, S, kClamp, kOrdered>(0, pixels, s, m, dst, step);
  }
  activate_from<kSums / kVectors, 0, S, kClamp, kOrdered>(0, pixels, s, m, dst, step);
}

template <Signs S>
STYLEGAN_TARGET void activate_signs(const Shifts& s, const Shifts* second, int64_t pixels, const Middle& m, float* dst,
                                    int64_t step) {
  const bool clamps = m.clamp < std::numeric_limits<double>::infinity();
  if (Slope(m).ordered())
    (clamps ? activate_taps<S, true, true> : activate_taps<S, false, true>)(s, second, pixels, m, dst, step);
  else
    (clamps ? activate_taps<S, true, false> : activate_taps<S, false, false>)(s, second, pixels, m, dst, step);
}

void activate_any(const Shifts& s, const Shifts* second, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  switch (m.signs) {
    case Signs::own: return activate_signs<Signs::own>(s, second, pixels, m, dst, step);
    case Signs::written: return activate_signs<Signs::written>(s, second, pixels, m, dst, step);
    case Signs::given: return activate_signs<Signs::given>(s, second, pixels, m, dst, step);
  }
}

void activate(const Shifts& s, int64_t pixels, const Middle& m, float* dst, int64_t step) {
  activate_any(s, nullptr, pixels, m, dst, step);
}

void activate_pair(const Shifts& first, const Shifts& second, int64_t pixels, const Middle& m, float* dst,
                   int64_t step) {
  const int64_t later = second.terms->row - first.terms->row;
  const bool known =
      kVectors == 1 && first.count == 1 && first.taps == 6 && second.taps == 6 && (later == 0 || later == kPixel);
  if (known) return activate_any(first, &second, pixels, m, dst, step);
  Middle shifted = m;
  shifted.words += m.words != nullptr;
  activate(first, pixels, m, dst, step);
  activate(second, pixels, shifted, dst + kPixel, step);
}
