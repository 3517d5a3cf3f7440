// SPDX-License-Identifier: Apache-2.0
// The activations of bias_act with their first and second derivatives, written once for both
// devices. All are free of branches, so that a loop over them becomes vector code on a CPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "lib/host_device.h"

namespace stylegan {

// In the order of ACTIVATIONS in stylegan_ops' bias_act.py, which passes the index.
enum class Act : int { linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus, swish };

// selu has no kernel of its own: it is elu with this alpha and scale (Klambauer et al. 2017,
// arXiv:1706.02515).
constexpr double kSeluScale = 1.0507009873554804934193349852946;
constexpr double kSeluAlpha = 1.6732632423543772848170429916717;

// The slope is constant on each side of 0: two bits a sample define all derivatives.
STYLEGAN_HOST_DEVICE constexpr bool piecewise_linear(Act act) { return act <= Act::lrelu; }

namespace math {

// On the host, float32 exp, expm1 and log1p are polynomials, because calls of the C library keep a
// loop from becoming vector code. Each is within 2 ulp on the range that is used here.
// exp: x = k ln2 + r with |r| <= ln2 / 2, e^r - 1 by its Taylor series to r^8 (error below 3e-9 of r).
struct Exp {
  float scale, minus_one;  // e^x = scale * (1 + minus_one)
};

STYLEGAN_HOST_DEVICE Exp exp_parts(float x) {  // x <= 0; below -87 as if at -87, where e^x is 2e-38
  x = x < -87.0f ? -87.0f : x;
  const float k = std::nearbyint(x * 1.44269504f);
  const float r = (x - k * 0.693359375f) - k * -2.12194440e-4f;  // ln2 in two parts: k * 0.69.. is exact
  float p = 1.0f / 40320;
  p = p * r + 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r;
  const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(k) + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return {scale, p};
}

#if defined(__CUDA_ARCH__)
template <class T> __device__ __forceinline__ T exp_negative(T x) { return exp(x); }
template <class T> __device__ __forceinline__ T expm1_negative(T x) { return expm1(x); }
template <class T> __device__ __forceinline__ T log1p_unit(T x) { return log1p(x); }
// 2 ulp, in line; the divisors here are between 1 and 4.
__device__ __forceinline__ float quotient(float a, float b) { return __fdividef(a, b); }
__device__ __forceinline__ double quotient(double a, double b) { return a / b; }
#else
STYLEGAN_HOST_DEVICE float exp_negative(float x) {
  const Exp e = exp_parts(x);
  return x < -87.0f ? 0.0f : e.scale * e.minus_one + e.scale;
}
STYLEGAN_HOST_DEVICE float expm1_negative(float x) {
  const Exp e = exp_parts(x);
  return e.scale * e.minus_one + (e.scale - 1.0f);
}
// 0 <= x <= 1: log1p(x) = 2 atanh(s), s = x / (2 + x) <= 1/3; series to s^15 (error below 2e-9).
STYLEGAN_HOST_DEVICE float log1p_unit(float x) {
  const float s = x / (2.0f + x), q = s * s;
  float p = 1.0f / 15;
  p = p * q + 1.0f / 13;
  p = p * q + 1.0f / 11;
  p = p * q + 1.0f / 9;
  p = p * q + 1.0f / 7;
  p = p * q + 1.0f / 5;
  p = p * q + 1.0f / 3;
  return 2.0f * (p * q * s + s);
}
STYLEGAN_HOST_DEVICE double exp_negative(double x) { return std::exp(x); }
STYLEGAN_HOST_DEVICE double expm1_negative(double x) { return std::expm1(x); }
STYLEGAN_HOST_DEVICE double log1p_unit(double x) { return std::log1p(x); }
template <class T> STYLEGAN_HOST_DEVICE T quotient(T a, T b) { return a / b; }
#endif

STYLEGAN_HOST_DEVICE float magnitude(float x) { return fabsf(x); }
STYLEGAN_HOST_DEVICE double magnitude(double x) { return fabs(x); }

}  // namespace math

// value, first and second derivative of activation A at u, before gain and clamp.
template <Act A, class T> struct Activation;

template <class T> struct Activation<Act::linear, T> {
  static STYLEGAN_HOST_DEVICE T value(T u, T) { return u; }
};

template <class T> struct Activation<Act::relu, T> {
  static STYLEGAN_HOST_DEVICE T value(T u, T) { return u < 0 ? T(0) : u; }  // NaN stays NaN
};

template <class T> struct Activation<Act::lrelu, T> {
  static STYLEGAN_HOST_DEVICE T value(T u, T alpha) { return u > 0 ? u : u * alpha; }
};

template <class T> struct Activation<Act::tanh, T> {
  static STYLEGAN_HOST_DEVICE T value(T u, T = 0) {
    const T e = math::expm1_negative(-2 * math::magnitude(u)), t = math::quotient(-e, 2 + e);
    return u < 0 ? -t : t;
  }
  // 1 - tanh^2 = 4e / (1 + e)^2 with e = exp(-2|u|) keeps its digits where tanh is near 1.
  static STYLEGAN_HOST_DEVICE T d1(T u, T = 0) {
    const T e = math::exp_negative(-2 * math::magnitude(u)), f = 1 + e;
    return math::quotient(4 * e, f * f);
  }
  static STYLEGAN_HOST_DEVICE T d2(T u, T = 0) { return -2 * value(u) * d1(u); }
};

template <class T> struct Activation<Act::sigmoid, T> {
  static STYLEGAN_HOST_DEVICE T value(T u, T = 0) {
    const T e = math::exp_negative(-math::magnitude(u));
    return math::quotient(u < 0 ? e : T(1), 1 + e);
  }
  static STYLEGAN_HOST_DEVICE T d1(T u, T = 0) {
    const T e = math::exp_negative(-math::magnitude(u)), f = 1 + e;
    return math::quotient(e, f * f);
  }
  static STYLEGAN_HOST_DEVICE T d2(T u, T = 0) { return d1(u) * one_minus_twice(u); }
  // 1 - 2 sigmoid(u) = -tanh(u / 2)
  static STYLEGAN_HOST_DEVICE T one_minus_twice(T u) { return -Activation<Act::tanh, T>::value(u / 2); }
};

template <class T> struct Activation<Act::elu, T> {
  static STYLEGAN_HOST_DEVICE T value(T u, T alpha) {
    const T e = math::expm1_negative(u < 0 ? u : T(0));
    return u < 0 ? alpha * e : u;  // NaN stays NaN
  }
  // At 0 the first derivative is that of the left side, the second that of the right, as in F.elu.
  static STYLEGAN_HOST_DEVICE T d1(T u, T alpha) { return u > 0 ? T(1) : alpha * math::exp_negative(u > 0 ? T(0) : u); }
  static STYLEGAN_HOST_DEVICE T d2(T u, T alpha) {
    return u >= 0 ? T(0) : alpha * math::exp_negative(u > 0 ? T(0) : u);
  }
};

template <class T> struct Activation<Act::softplus, T> {  // u itself above 20, as F.softplus
  using Sigmoid = Activation<Act::sigmoid, T>;
  static STYLEGAN_HOST_DEVICE T value(T u, T = 0) {
    const T v = (u < 0 ? T(0) : u) + math::log1p_unit(math::exp_negative(-math::magnitude(u)));
    return u > 20 ? u : v;
  }
  static STYLEGAN_HOST_DEVICE T d1(T u, T = 0) { return u > 20 ? T(1) : Sigmoid::value(u); }
  static STYLEGAN_HOST_DEVICE T d2(T u, T = 0) { return u > 20 ? T(0) : Sigmoid::d1(u); }
};

template <class T> struct Activation<Act::swish, T> {
  using Sigmoid = Activation<Act::sigmoid, T>;
  static STYLEGAN_HOST_DEVICE T value(T u, T = 0) { return u * Sigmoid::value(u); }
  static STYLEGAN_HOST_DEVICE T d1(T u, T = 0) { return Sigmoid::value(u) + u * Sigmoid::d1(u); }
  static STYLEGAN_HOST_DEVICE T d2(T u, T = 0) { return Sigmoid::d1(u) * (2 + u * Sigmoid::one_minus_twice(u)); }
};

// y = clamp(act(u) * gain). An infinite clamp does nothing; NaN stays NaN.
template <class T> STYLEGAN_HOST_DEVICE T clamped(T v, T clamp) {
  return v < -clamp ? -clamp : (v > clamp ? clamp : v);
}

// Where the derivative passes the clamp. False for NaN, as in torch.clamp.
template <class T> STYLEGAN_HOST_DEVICE bool inside(T v, T clamp) { return math::magnitude(v) <= clamp; }

// v times the first and second derivative of y w.r.t. u, for a smooth activation. If the clamp makes a derivative 0, so
// is the product, even for an infinite v. kClamp false: there is no clamp, so the value is not computed.
template <Act A, bool kClamp, class T> STYLEGAN_HOST_DEVICE bool flat(T u, T alpha, T gain, T clamp) {
  if constexpr (!kClamp) return false;
  return math::magnitude(Activation<A, T>::value(u, alpha) * gain) > clamp;
}
template <Act A, bool kClamp = true, class T>
STYLEGAN_HOST_DEVICE T times_slope(T v, T u, T alpha, T gain, T clamp) {
  const T d = v * (Activation<A, T>::d1(u, alpha) * gain);
  return flat<A, kClamp>(u, alpha, gain, clamp) ? T(0) : d;
}
template <Act A, bool kClamp = true, class T>
STYLEGAN_HOST_DEVICE T times_curvature(T v, T u, T alpha, T gain, T clamp) {
  const T d = v * (Activation<A, T>::d2(u, alpha) * gain);
  return flat<A, kClamp>(u, alpha, gain, clamp) ? T(0) : d;
}

}  // namespace stylegan
