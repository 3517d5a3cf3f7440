// SPDX-License-Identifier: Apache-2.0
// What a FIR pass is made of on a CPU, as vector code whatever the layout: sums of rows with a factor each,
// and rows taken apart into every n-th pixel or put together from them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace stylegan::upfirdn2d::cpu {

constexpr int kTermsAtOnce = 8;  // sources and factors that stay in registers

// One summand: factor * source.
template <class C> struct Term {
  C factor;
  const C* source;
};

template <class C> using Terms = std::vector<Term<C>>;

// rows * count elements; source and destination move on by their steps from row to row.
struct Run {
  int64_t rows, count, source_step, step;
};

// Unlike elsewhere (cxx_flags in stylegan_ops/build/recipe.py) vectors of 512 bits pay here, where multiplications
// bound the loop: 1.4 to 1.9 times as fast in L1 as with 256 (Zen 5, gcc 12).
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#define STYLEGAN_WIDEST __attribute__((noinline, target("prefer-vector-width=512")))
#else
#define STYLEGAN_WIDEST
#endif

// dst = (kAdd: dst +) the sum of N terms, in that order.
template <int N, bool kAdd, class C> STYLEGAN_WIDEST void add_terms(const Term<C>* terms, const Run& run, C* dst) {
  C factor[N];
  const C* source[N];
  for (int i = 0; i < N; ++i) factor[i] = terms[i].factor, source[i] = terms[i].source;
  for (int64_t row = 0; row < run.rows; ++row) {
    C* __restrict d = dst + row * run.step;
    for (int64_t j = 0; j < run.count; ++j) {
      C v = kAdd ? d[j] : C(0);
      for (int i = 0; i < N; ++i) v += factor[i] * source[i][j];
      d[j] = v;
    }
    for (int i = 0; i < N; ++i) source[i] += run.source_step;
  }
}

template <bool kAdd, class C> void add_some(const Term<C>* terms, int64_t count, const Run& run, C* dst) {
  switch (count) {
    case 1: return add_terms<1, kAdd>(terms, run, dst);
    case 2: return add_terms<2, kAdd>(terms, run, dst);
    case 3: return add_terms<3, kAdd>(terms, run, dst);
    case 4: return add_terms<4, kAdd>(terms, run, dst);
    case 5: return add_terms<5, kAdd>(terms, run, dst);
    case 6: return add_terms<6, kAdd>(terms, run, dst);
    case 7: return add_terms<7, kAdd>(terms, run, dst);
    default: return add_terms<8, kAdd>(terms, run, dst);
  }
}

// dst = the sum of all terms.
template <class C> void sum_terms(const Terms<C>& terms, const Run& run, C* dst) {
  const int64_t size = static_cast<int64_t>(terms.size());
  if (size == 0)
    for (int64_t row = 0; row < run.rows; ++row) std::fill_n(dst + row * run.step, run.count, C(0));
  for (int64_t i = 0; i < size; i += kTermsAtOnce) {
    const int64_t count = std::min<int64_t>(kTermsAtOnce, size - i);
    i == 0 ? add_some<false>(terms.data(), count, run, dst) : add_some<true>(terms.data() + i, count, run, dst);
  }
}

// dst = src as rows of `ways` pixels, row i of pixel i of each of the `ways` parts of src, which lie `part`
// elements apart; and the other way round. Constant ways make vector code of it.
template <int W, class C>
void interleave_by(const C* __restrict src, int64_t part, int64_t pixels, C* __restrict dst) {
  for (int64_t i = 0; i < pixels; ++i)
    for (int w = 0; w < W; ++w) dst[i * W + w] = src[w * part + i];
}
template <class C>
void interleave(const C* __restrict src, int64_t part, int64_t pixels, int64_t unit, int64_t ways, C* __restrict dst) {
  if (unit == 1 && ways == 2) return interleave_by<2>(src, part, pixels, dst);
  if (unit == 1 && ways == 4) return interleave_by<4>(src, part, pixels, dst);
  for (int64_t w = 0; w < ways; ++w)
    for (int64_t i = 0; i < pixels; ++i)
      for (int64_t u = 0; u < unit; ++u) dst[(i * ways + w) * unit + u] = src[w * part + i * unit + u];
}
template <int W, class C>
void separate_by(const C* __restrict src, int64_t part, int64_t pixels, C* __restrict dst) {
  for (int64_t i = 0; i < pixels; ++i)
    for (int w = 0; w < W; ++w) dst[w * part + i] = src[i * W + w];
}
template <class C>
void separate(const C* __restrict src, int64_t part, int64_t pixels, int64_t unit, int64_t ways, C* __restrict dst) {
  if (unit == 1 && ways == 2) return separate_by<2>(src, part, pixels, dst);
  if (unit == 1 && ways == 4) return separate_by<4>(src, part, pixels, dst);
  for (int64_t w = 0; w < ways; ++w)
    for (int64_t i = 0; i < pixels; ++i)
      for (int64_t u = 0; u < unit; ++u) dst[w * part + i * unit + u] = src[(i * ways + w) * unit + u];
}

}  // namespace stylegan::upfirdn2d::cpu
