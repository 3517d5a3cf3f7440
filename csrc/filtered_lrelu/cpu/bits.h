// SPDX-License-Identifier: Apache-2.0
// Included by loops.h: comparisons, choices and transposition of vectors.

#if STYLEGAN_PLAIN_VECTORS
STYLEGAN_INLINE float lane_of(const Vector& v, int i) { return v.v[i]; }
#else
STYLEGAN_INLINE float lane_of(const Vector& v, int i) { return v[i]; }
#endif

// bits_above: bit i is a[i] > b[i]; bits_equal: a[i] == b[i]. choose: bit i ? a[i] : b[i].
// vector_max, vector_min: of a and b; b if either is NaN.
#if STYLEGAN_LANES == 16
STYLEGAN_INLINE uint32_t bits_above(const Vector& a, const Vector& b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
}
STYLEGAN_INLINE uint32_t bits_equal(const Vector& a, const Vector& b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ);
}
STYLEGAN_INLINE Vector choose(uint32_t bits, const Vector& a, const Vector& b) {
  return (Vector)_mm512_mask_blend_ps(static_cast<__mmask16>(bits), (__m512)b, (__m512)a);
}
STYLEGAN_INLINE Vector vector_max(const Vector& a, const Vector& b) {
  return (Vector)_mm512_max_ps((__m512)a, (__m512)b);
}
STYLEGAN_INLINE Vector vector_min(const Vector& a, const Vector& b) {
  return (Vector)_mm512_min_ps((__m512)a, (__m512)b);
}
#elif STYLEGAN_LANES == 8
STYLEGAN_INLINE uint32_t bits_above(const Vector& a, const Vector& b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ)));
}
STYLEGAN_INLINE uint32_t bits_equal(const Vector& a, const Vector& b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_EQ_OQ)));
}
STYLEGAN_INLINE Vector choose(uint32_t bits, const Vector& a, const Vector& b) {
  const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), each), each);
  return (Vector)_mm256_blendv_ps((__m256)b, (__m256)a, _mm256_castsi256_ps(set));
}
STYLEGAN_INLINE Vector vector_max(const Vector& a, const Vector& b) {
  return (Vector)_mm256_max_ps((__m256)a, (__m256)b);
}
STYLEGAN_INLINE Vector vector_min(const Vector& a, const Vector& b) {
  return (Vector)_mm256_min_ps((__m256)a, (__m256)b);
}
#else
STYLEGAN_INLINE Vector vector_max(const Vector& a, const Vector& b) { return where_above(a, b, a, b); }
STYLEGAN_INLINE Vector vector_min(const Vector& a, const Vector& b) { return where_above(b, a, a, b); }
STYLEGAN_INLINE uint32_t bits_above(const Vector& a, const Vector& b) {
  uint32_t bits = 0;
  STYLEGAN_UNROLL
  for (int i = 0; i < STYLEGAN_LANES; ++i) bits |= static_cast<uint32_t>(lane_of(a, i) > lane_of(b, i)) << i;
  return bits;
}
STYLEGAN_INLINE uint32_t bits_equal(const Vector& a, const Vector& b) {
  uint32_t bits = 0;
  STYLEGAN_UNROLL
  for (int i = 0; i < STYLEGAN_LANES; ++i) bits |= static_cast<uint32_t>(lane_of(a, i) == lane_of(b, i)) << i;
  return bits;
}
STYLEGAN_INLINE Vector choose(uint32_t bits, const Vector& a, const Vector& b) {
  float v[STYLEGAN_LANES];
  STYLEGAN_UNROLL for (int i = 0; i < STYLEGAN_LANES; ++i) v[i] = (bits >> i) & 1u ? lane_of(a, i) : lane_of(b, i);
  return load(v);
}
#endif

// Lane j of v[i] and lane i of v[j] exchanged.
#if STYLEGAN_LANES == 16
// Of two vectors that lie S apart, the upper S lanes of the first and the lower S of the second change places, in every
// group of 2 S.
template <int S> STYLEGAN_INLINE void exchange_halves(Vector (&v)[16]) {
  int32_t low[16], high[16];
  STYLEGAN_UNROLL for (int i = 0; i < 16; ++i) low[i] = i & S ? 16 + i - S : i, high[i] = i & S ? 16 + i : i + S;
  const __m512i first = _mm512_loadu_si512(low), second = _mm512_loadu_si512(high);
  STYLEGAN_UNROLL for (int i = 0; i < 16; ++i) {
    if (i & S) continue;
    const __m512 a = (__m512)v[i], b = (__m512)v[i + S];
    v[i] = (Vector)_mm512_permutex2var_ps(a, first, b);
    v[i + S] = (Vector)_mm512_permutex2var_ps(a, second, b);
  }
}
STYLEGAN_INLINE void exchange(Vector (&v)[16]) {
  exchange_halves<1>(v);
  exchange_halves<2>(v);
  exchange_halves<4>(v);
  exchange_halves<8>(v);
}
#elif STYLEGAN_LANES == 8
STYLEGAN_INLINE void exchange(Vector (&v)[8]) {
  __m256 pairs[8], fours[8];
  STYLEGAN_UNROLL for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = _mm256_unpacklo_ps((__m256)v[2 * i], (__m256)v[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_ps((__m256)v[2 * i], (__m256)v[2 * i + 1]);
  }
  STYLEGAN_UNROLL for (int i = 0; i < 8; i += 4) STYLEGAN_UNROLL for (int j = 0; j < 2; ++j) {
    fours[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + 2 + j], 0x44);
    fours[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + 2 + j], 0xee);
  }
  STYLEGAN_UNROLL for (int i = 0; i < 4; ++i) {
    v[i] = (Vector)_mm256_permute2f128_ps(fours[i], fours[4 + i], 0x20);
    v[4 + i] = (Vector)_mm256_permute2f128_ps(fours[i], fours[4 + i], 0x31);
  }
}
#else
STYLEGAN_INLINE void exchange(Vector (&v)[STYLEGAN_LANES]) {
  float rows[STYLEGAN_LANES][STYLEGAN_LANES], columns[STYLEGAN_LANES][STYLEGAN_LANES];
  STYLEGAN_UNROLL for (int i = 0; i < STYLEGAN_LANES; ++i) store(rows[i], v[i]);
  STYLEGAN_UNROLL for (int i = 0; i < STYLEGAN_LANES; ++i) STYLEGAN_UNROLL for (int j = 0; j < STYLEGAN_LANES; ++j)
      columns[i][j] = rows[j][i];
  STYLEGAN_UNROLL for (int i = 0; i < STYLEGAN_LANES; ++i) v[i] = load(columns[i]);
}
#endif
