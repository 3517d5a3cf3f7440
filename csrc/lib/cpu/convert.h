// SPDX-License-Identifier: Apache-2.0
// Between stored dtypes and the dtype of arithmetic (float, or double for float64), a run at a time.
// Compilers turn these loops into vector code. Only float16 needs an explicit instruction.
#pragma once

#include <cstring>

#include "lib/dtype.h"

#if defined(__F16C__) && defined(__AVX__)
#include <immintrin.h>
#endif

namespace stylegan::cpu {

inline float float_of(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

inline uint32_t bits_of(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, sizeof bits);
  return bits;
}

inline float from_bfloat16(uint16_t h) { return float_of(uint32_t(h) << 16); }

inline uint16_t to_bfloat16(float f) {  // to nearest, ties to even
  const uint32_t x = bits_of(f);
  const uint32_t rounded = (x + 0x7fff + ((x >> 16) & 1)) >> 16;
  return uint16_t((x & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

inline float from_float16(uint16_t h) {
  // With the bits of float16 at those of float32, exponent and mantissa are 2^112 too small, subnormal or not.
  const uint32_t x = uint32_t(h & 0x7fff) << 13;
  const uint32_t scaled = bits_of(float_of(x) * 0x1p112f);
  return float_of((x >= 0x0f800000 ? x | 0x7f800000 : scaled) | uint32_t(h & 0x8000) << 16);
}

inline uint16_t to_float16(float f) {  // to nearest, ties to even
  const uint32_t bits = bits_of(f), sign = bits & 0x80000000, x = bits ^ sign;
  const uint32_t normal = (x - 0x38000000 + 0xfff + ((x >> 13) & 1)) >> 13;
  // Below 2^-14: adding 0.5 rounds to multiples of 2^-24, the step of float16's subnormals.
  const uint32_t subnormal = bits_of(float_of(x) + 0.5f) - 0x3f000000;
  const uint32_t large = x > 0x7f800000 ? 0x7e00 : 0x7c00;
  const uint32_t h = x < 0x38800000 ? subnormal : (x >= 0x477ff000 ? large : normal);
  return uint16_t(h | sign >> 16);
}

// dst[0..count) = src[first..first+count)
template <class C> void widen(Dtype dtype, const void* src, int64_t first, int64_t count, C* dst) {
  int64_t i = 0;
  switch (dtype) {
    case Dtype::float32: {
      const float* s = static_cast<const float*>(src) + first;
      for (; i < count; ++i) dst[i] = static_cast<C>(s[i]);
      break;
    }
    case Dtype::float64: {
      const double* s = static_cast<const double*>(src) + first;
      for (; i < count; ++i) dst[i] = static_cast<C>(s[i]);
      break;
    }
    case Dtype::bfloat16: {
      const uint16_t* s = static_cast<const uint16_t*>(src) + first;
      for (; i < count; ++i) dst[i] = from_bfloat16(s[i]);
      break;
    }
    case Dtype::float16: {
      const uint16_t* s = static_cast<const uint16_t*>(src) + first;
#if defined(__F16C__) && defined(__AVX__)
      if constexpr (sizeof(C) == sizeof(float))
        for (; i + 8 <= count; i += 8)
          _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s + i))));
#endif
      for (; i < count; ++i) dst[i] = from_float16(s[i]);
      break;
    }
  }
}

template <class C> void store(Dtype dtype, void* dst, int64_t first, int64_t count, const C* src) {
  int64_t i = 0;
  switch (dtype) {
    case Dtype::float32: {
      float* d = static_cast<float*>(dst) + first;
      for (; i < count; ++i) d[i] = static_cast<float>(src[i]);
      break;
    }
    case Dtype::float64: {
      double* d = static_cast<double*>(dst) + first;
      for (; i < count; ++i) d[i] = src[i];
      break;
    }
    case Dtype::bfloat16: {
      uint16_t* d = static_cast<uint16_t*>(dst) + first;
      for (; i < count; ++i) d[i] = to_bfloat16(static_cast<float>(src[i]));
      break;
    }
    case Dtype::float16: {
      uint16_t* d = static_cast<uint16_t*>(dst) + first;
#if defined(__F16C__) && defined(__AVX__)
      if constexpr (sizeof(C) == sizeof(float))
        for (; i + 8 <= count; i += 8)
          _mm_storeu_si128(reinterpret_cast<__m128i*>(d + i),
                           _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
#endif
      for (; i < count; ++i) d[i] = to_float16(static_cast<float>(src[i]));
      break;
    }
  }
}

inline int64_t size_of(Dtype dtype) { return dtype == Dtype::float64 ? 8 : dtype == Dtype::float32 ? 4 : 2; }

// Whether C, the dtype of arithmetic, is the stored one.
template <class C> bool is_stored(Dtype dtype) {
  return dtype == (sizeof(C) == sizeof(double) ? Dtype::float64 : Dtype::float32);
}

// f(C()) with the dtype of arithmetic.
template <class F> void with_arithmetic(Dtype dtype, F&& f) { dtype == Dtype::float64 ? f(double()) : f(float()); }

}  // namespace stylegan::cpu
