// SPDX-License-Identifier: Apache-2.0
// Loops over vectors of floats, for any compiler.
#pragma once

#if defined(__GNUC__)
#define STYLEGAN_UNROLL _Pragma("GCC unroll 16")
#define STYLEGAN_UNROLL_ALL _Pragma("GCC unroll 64")
#define STYLEGAN_NOINLINE __attribute__((noinline))
#define STYLEGAN_ALWAYS_INLINE __attribute__((always_inline)) inline
#define STYLEGAN_OPAQUE(p) asm("" : "+r"(p))  // the compiler does not know where p points
#else
#define STYLEGAN_UNROLL
#define STYLEGAN_UNROLL_ALL
#define STYLEGAN_NOINLINE
#define STYLEGAN_ALWAYS_INLINE inline
#define STYLEGAN_OPAQUE(p)
#endif

namespace stylegan::cpu {

// For compilers without vector extensions, instead of `float __attribute__((vector_size(N * 4)))`.
template <int N> struct PlainVector {
  float v[N];

  template <class F> static PlainVector of(F f) {
    PlainVector r;
    for (int i = 0; i < N; ++i) r.v[i] = f(i);
    return r;
  }
  friend PlainVector operator+(const PlainVector& a, const PlainVector& b) {
    return of([&](int i) { return a.v[i] + b.v[i]; });
  }
  friend PlainVector operator-(const PlainVector& a, const PlainVector& b) {
    return of([&](int i) { return a.v[i] - b.v[i]; });
  }
  friend PlainVector operator*(const PlainVector& a, const PlainVector& b) {
    return of([&](int i) { return a.v[i] * b.v[i]; });
  }
  friend PlainVector operator+(const PlainVector& a, float b) {
    return of([&](int i) { return a.v[i] + b; });
  }
  friend PlainVector operator*(float a, const PlainVector& b) {
    return of([&](int i) { return a * b.v[i]; });
  }
  PlainVector operator-() const {
    return of([&](int i) { return -v[i]; });
  }
  PlainVector& operator+=(const PlainVector& b) { return *this = *this + b; }
};

}  // namespace stylegan::cpu
