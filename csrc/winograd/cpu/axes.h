// SPDX-License-Identifier: Apache-2.0
// Included by loops.h: the transforms of each form along one axis.
//
// With points 0, a, -a, b, -b and infinity, a b = 1, a^2 = 1/2, F(4, 3) errs 5 times less than with the usual 0, 1, -1,
// 2, -2: 1.7e-6 against 8.5e-6 of the largest result (512 channels, normal numbers; F(2, 3) 4.4e-7).

// One axis of a convolution: outputs of a tile from its inputs, by one product for each frequency. Rows and columns
// are treated alike, one after the other. The last frequencies of an axis may share a weight.
template <Form F> struct Axis;

template <> struct Axis<Form::tile2> {
  static constexpr int kInputs = 4, kFrequencies = 4, kOutputs = 2;
  static STYLEGAN_INLINE void input(const Vector (&d)[4], Vector (&t)[4]) {
    t[0] = d[0] - d[2];
    t[1] = d[1] + d[2];
    t[2] = d[2] - d[1];
    t[3] = d[3] - d[1];
  }
  static STYLEGAN_INLINE void output(const Vector (&m)[4], Vector (&y)[2]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] + m[3];
  }
  static STYLEGAN_INLINE void weights(const Vector (&g)[3], Vector (&u)[4]) {
    const Vector even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
  static STYLEGAN_INLINE void output_adjoint(const Vector (&y)[2], Vector (&m)[4]) {
    m[0] = y[0];
    m[1] = y[0] + y[1];
    m[2] = y[0] - y[1];
    m[3] = y[1];
  }
  static STYLEGAN_INLINE void weights_adjoint(const Vector (&u)[4], Vector (&g)[3]) {
    const Vector even = 0.5f * (u[1] + u[2]);
    g[0] = u[0] + even;
    g[1] = 0.5f * (u[1] - u[2]);
    g[2] = even + u[3];
  }
};

template <> struct Axis<Form::tile4> {
  static constexpr int kInputs = 6, kFrequencies = 6, kOutputs = 4;
  static constexpr float kA = 0.707106781f, kB = 1.41421356f;

  static STYLEGAN_INLINE void input(const Vector (&d)[6], Vector (&t)[6]) {
    const Vector even_a = d[4] - 2.f * d[2], odd_a = kA * d[3] - kB * d[1];
    const Vector even_b = d[4] - 0.5f * d[2], odd_b = kB * d[3] - kA * d[1];
    t[0] = d[0] + d[4] - 2.5f * d[2];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = d[1] + d[5] - 2.5f * d[3];
  }
  static STYLEGAN_INLINE void output(const Vector (&m)[6], Vector (&y)[4]) {
    const Vector even_a = m[1] + m[2], odd_a = m[1] - m[2];
    const Vector even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + even_a + even_b;
    y[1] = kA * odd_a + kB * odd_b;
    y[2] = 0.5f * even_a + 2.f * even_b;
    y[3] = (0.5f * kA) * odd_a + (2.f * kB) * odd_b + m[5];
  }
  static STYLEGAN_INLINE void weights(const Vector (&g)[3], Vector (&u)[6]) {
    const Vector even_a = (-2.f / 3) * g[0] + (-1.f / 3) * g[2], odd_a = (-2.f / 3 * kA) * g[1];
    const Vector even_b = (1.f / 6) * g[0] + (1.f / 3) * g[2], odd_b = (1.f / 6 * kB) * g[1];
    u[0] = g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }
  static STYLEGAN_INLINE void output_adjoint(const Vector (&y)[4], Vector (&m)[6]) {
    const Vector even_a = y[0] + 0.5f * y[2], odd_a = kA * y[1] + (0.5f * kA) * y[3];
    const Vector even_b = y[0] + 2.f * y[2], odd_b = kB * y[1] + (2.f * kB) * y[3];
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
  }
  static STYLEGAN_INLINE void weights_adjoint(const Vector (&u)[6], Vector (&g)[3]) {
    const Vector even_a = u[1] + u[2], even_b = u[3] + u[4];
    g[0] = u[0] + (-2.f / 3) * even_a + (1.f / 6) * even_b;
    g[1] = (-2.f / 3 * kA) * (u[1] - u[2]) + (1.f / 6 * kB) * (u[3] - u[4]);
    g[2] = (-1.f / 3) * even_a + (1.f / 3) * even_b + u[5];
  }
};

// F(4, 2) with points 1/2, -1/2, 1, -1 and infinity: y[j] = d[j] g[0] + d[j + 1] g[1], for what stride 2 leaves of
// three taps: two that meet every other sample.
struct TwoTaps {
  static STYLEGAN_INLINE void input(const Vector& d0, const Vector& d1, const Vector& d2, const Vector& d3,
                                    const Vector& d4, Vector* t) {
    const Vector odd_a = d3 - d1, even_a = 0.5f * (d2 - d0), odd_b = d3 - 0.25f * d1, even_b = d2 - 0.25f * d0;
    t[0] = odd_a + even_a;
    t[1] = odd_a - even_a;
    t[2] = odd_b + even_b;
    t[3] = odd_b - even_b;
    t[4] = 0.25f * d0 - 1.25f * d2 + d4;
  }
  static STYLEGAN_INLINE void output(const Vector* m, Vector (&y)[4]) {
    const Vector even_a = m[0] + m[1], odd_a = m[0] - m[1], even_b = m[2] + m[3], odd_b = m[2] - m[3];
    y[0] = even_a + even_b;
    y[1] = 0.5f * odd_a + odd_b;
    y[2] = 0.25f * even_a + even_b;
    y[3] = 0.125f * odd_a + odd_b + m[4];
  }
  static STYLEGAN_INLINE void weights(const Vector& g0, const Vector& g1, Vector* u) {
    const Vector even_a = (-4.f / 3) * g0, odd_a = (-2.f / 3) * g1;
    const Vector even_b = (2.f / 3) * g0, odd_b = (2.f / 3) * g1;
    u[0] = even_a + odd_a;
    u[1] = odd_a - even_a;
    u[2] = even_b + odd_b;
    u[3] = odd_b - even_b;
    u[4] = g1;
  }
  static STYLEGAN_INLINE void output_adjoint(const Vector (&y)[4], Vector* m) {
    const Vector even_a = y[0] + 0.25f * y[2], odd_a = 0.5f * y[1] + 0.125f * y[3];
    const Vector even_b = y[0] + y[2], odd_b = y[1] + y[3];
    m[0] = even_a + odd_a;
    m[1] = even_a - odd_a;
    m[2] = even_b + odd_b;
    m[3] = even_b - odd_b;
    m[4] = y[3];
  }
  static STYLEGAN_INLINE void weights_adjoint(const Vector* u, Vector& g0, Vector& g1) {
    g0 = (-4.f / 3) * (u[0] - u[1]) + (2.f / 3) * (u[2] - u[3]);
    g1 = (-2.f / 3) * (u[0] + u[1]) + (2.f / 3) * (u[2] + u[3]) + u[4];
  }
};

// Even outputs are two taps, odd ones the middle tap. Inputs begin one before the tile's first.
template <> struct Axis<Form::up> {
  static constexpr int kInputs = 5, kFrequencies = 9, kOutputs = 8;
  static STYLEGAN_INLINE void input(const Vector (&d)[5], Vector (&t)[9]) {
    TwoTaps::input(d[0], d[1], d[2], d[3], d[4], t);
    STYLEGAN_UNROLL for (int i = 0; i < 4; ++i) t[5 + i] = d[1 + i];
  }
  static STYLEGAN_INLINE void output(const Vector (&m)[9], Vector (&y)[8]) {
    Vector even[4];
    TwoTaps::output(m, even);
    STYLEGAN_UNROLL for (int i = 0; i < 4; ++i) {
      y[2 * i] = even[i];
      y[2 * i + 1] = m[5 + i];
    }
  }
  static STYLEGAN_INLINE void weights(const Vector (&g)[3], Vector (&u)[6]) {
    TwoTaps::weights(g[2], g[0], u);
    u[5] = g[1];
  }
};

// The outer taps meet even inputs, the middle one odd ones.
template <> struct Axis<Form::down> {
  static constexpr int kInputs = 9, kFrequencies = 9, kOutputs = 4;
  static STYLEGAN_INLINE void input(const Vector (&d)[9], Vector (&t)[9]) {
    TwoTaps::input(d[0], d[2], d[4], d[6], d[8], t);
    STYLEGAN_UNROLL for (int i = 0; i < 4; ++i) t[5 + i] = d[1 + 2 * i];
  }
  static STYLEGAN_INLINE void output(const Vector (&m)[9], Vector (&y)[4]) {
    TwoTaps::output(m, y);
    STYLEGAN_UNROLL for (int i = 0; i < 4; ++i) y[i] += m[5 + i];
  }
  static STYLEGAN_INLINE void weights(const Vector (&g)[3], Vector (&u)[6]) {
    TwoTaps::weights(g[0], g[2], u);
    u[5] = g[1];
  }
  static STYLEGAN_INLINE void output_adjoint(const Vector (&y)[4], Vector (&m)[9]) {
    TwoTaps::output_adjoint(y, m);
    STYLEGAN_UNROLL for (int i = 0; i < 4; ++i) m[5 + i] = y[i];
  }
  static STYLEGAN_INLINE void weights_adjoint(const Vector (&u)[6], Vector (&g)[3]) {
    TwoTaps::weights_adjoint(u, g[0], g[2]);
    g[1] = u[5];
  }
};
