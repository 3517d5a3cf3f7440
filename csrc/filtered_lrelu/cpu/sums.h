// SPDX-License-Identifier: Apache-2.0
// Included by loops.h: sums down the columns, of rows with a factor each.

// sums[i] += factor * pixel i * D of p, for P pixels
template <int P, int D> STYLEGAN_INLINE void add(float factor, const float* p, Vector (&sums)[P * kVectors]) {
  STYLEGAN_OPAQUE(p);  // else the compiler keeps an index for each pixel, in more registers than there are
  STYLEGAN_UNROLL for (int i = 0; i < P; ++i) STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j)
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
STYLEGAN_INLINE void sum_from(int64_t begin, int64_t pixels, const RowTerm* terms, int64_t count, float* dst,
                              int64_t step) {
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
STYLEGAN_INLINE void sum_pair_from(int64_t begin, int64_t pixels, const PairOfSums& p, float* dst_first,
                                   float* dst_second, int64_t step) {
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
STYLEGAN_INLINE void sum_rows_from(int64_t begin, int64_t pixels, const PairTerm* terms, float* dst_first,
                                   float* dst_second, int64_t step) {
  Vector first[K], second[K];
  STYLEGAN_UNROLL
  for (int k = 0; k < K; ++k) first[k] = Vector{} + terms[k].first, second[k] = Vector{} + terms[k].second;
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

STYLEGAN_TARGET void sum_pair(const RowTerm* first, int64_t firsts, const PairTerm* both, int64_t boths,
                              const RowTerm* second, int64_t seconds, int64_t pixels, float* dst_first,
                              float* dst_second, int64_t step) {
  constexpr int kAtOnce = kSums / kVectors / 2;
  if constexpr (kVectors == 1)
    if (firsts == 0 && seconds == 0 && boths == 6)
      return sum_rows_from<4, 6>(0, pixels, both, dst_first, dst_second, step);
  const PairOfSums p{first, first + firsts, both, both + boths, second, second + seconds};
  sum_pair_from<kAtOnce>(0, pixels, p, dst_first, dst_second, step);
}
