// SPDX-License-Identifier: Apache-2.0
// Included by loops.h: sums along the rows, of shifted pixels with a tap each.

// The sums of P pixels along rows, from `at` floats on; K: taps of a row, 0: any number. A known number of taps stays
// in registers, if there are enough of them, and every pixel is loaded once.
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
        STYLEGAN_UNROLL for (int r = 0; r < P; ++r) if (0 <= i - r * D && i - r * D < K) sums[r] += taps[i - r * D] * v;
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
