// SPDX-License-Identifier: Apache-2.0
// Included by winograd_<isa>.cpp, in a namespace of its own, which says what Vector is, of kLanes floats, how many rows
// of a product, kRows, its registers hold, and STYLEGAN_TARGET, which allows the compiler these instructions.
//
// With points 0, a, -a, b, -b and infinity, a b = 1, a^2 = 1/2, F(4, 3) errs 5 times less than with the usual 0, 1, -1,
// 2, -2: 1.7e-6 against 8.5e-6 of the largest result (512 channels, normal numbers; F(2, 3) 4.4e-7).

#define STYLEGAN_INLINE STYLEGAN_TARGET STYLEGAN_ALWAYS_INLINE

// One axis of a convolution: outputs of a tile from its inputs, by one product for each frequency. Rows and columns
// are treated alike, one after the other. The last frequencies of an axis may share a weight.
template <WinogradForm F> struct Axis;

template <> struct Axis<WinogradForm::tile2> {
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

template <> struct Axis<WinogradForm::tile4> {
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
template <> struct Axis<WinogradForm::up> {
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
template <> struct Axis<WinogradForm::down> {
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

STYLEGAN_INLINE Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
STYLEGAN_INLINE void store(float* p, const Vector& v) { *reinterpret_cast<Vector*>(p) = v; }

// u > limit ? a : b, lane by lane
STYLEGAN_INLINE Vector where_above(const Vector& u, const Vector& limit, const Vector& a, const Vector& b) {
#if STYLEGAN_PLAIN_VECTORS
  return Vector::of([&](int i) { return u.v[i] > limit.v[i] ? a.v[i] : b.v[i]; });
#else
  return u > limit ? a : b;
#endif
}

// Of FirEpilogue: NaN stays NaN, and infinity times a slope of 0 is 0.
STYLEGAN_INLINE Vector activated(const Vector& u, const WinogradOutput& o) {
  const Vector zero{}, limit = zero + o.clamp;
  const Vector below = o.negative == 0 ? where_above(zero, u, zero, u) : o.negative * u;
  const Vector v = where_above(u, zero, o.positive * u, below);
  return where_above(-limit, v, -limit, where_above(v, limit, limit, v));
}

template <WinogradForm F> struct InputOf {
  static constexpr int kFrom = Axis<F>::kInputs, kTo = Axis<F>::kFrequencies;
  static STYLEGAN_INLINE void map(const Vector (&d)[kFrom], Vector (&t)[kTo]) { Axis<F>::input(d, t); }
};
template <WinogradForm F> struct OutputAdjointOf {
  static constexpr int kFrom = Axis<F>::kOutputs, kTo = Axis<F>::kFrequencies;
  static STYLEGAN_INLINE void map(const Vector (&d)[kFrom], Vector (&t)[kTo]) { Axis<F>::output_adjoint(d, t); }
};

template <class Map>
STYLEGAN_TARGET void spread(const float* const* pixels, const float* styles, int64_t channels, float* v, int64_t frequency, int64_t panel) {
  constexpr int kFrom = Map::kFrom, kTo = Map::kTo;
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Vector style = styles == nullptr ? Vector{} + 1.f : load(styles + c);
    Vector half[kTo][kFrom];
    STYLEGAN_UNROLL for (int j = 0; j < kFrom; ++j) {
      Vector d[kFrom], t[kTo];
      STYLEGAN_UNROLL for (int i = 0; i < kFrom; ++i) d[i] = load(pixels[i * kFrom + j] + c) * style;
      Map::map(d, t);
      STYLEGAN_UNROLL for (int i = 0; i < kTo; ++i) half[i][j] = t[i];
    }
    float* const to = v + c / kPanel * panel + c % kPanel;
    STYLEGAN_UNROLL for (int i = 0; i < kTo; ++i) {
      Vector t[kTo];
      Map::map(half[i], t);
      STYLEGAN_UNROLL for (int j = 0; j < kTo; ++j) store(to + (i * kTo + j) * frequency, t[j]);
    }
  }
}

// Two vectors of columns by kRows rows: as many sums as registers hold. Rows lie `stride` apart; three of them share
// a pointer, since there are not enough registers for a pointer each.
template <int R>
STYLEGAN_TARGET void rows_of(const float* a, int64_t stride, const float* u, int64_t depth, float* c) {
  constexpr int kPointers = (R + 2) / 3;
  for (int64_t first = 0; first < kPanel; first += 2 * kLanes) {
    Vector low[R] = {}, high[R] = {};
    const float* p[kPointers];
    STYLEGAN_UNROLL for (int i = 0; i < kPointers; ++i) {
      p[i] = a + 3 * i * stride;
      STYLEGAN_OPAQUE(p[i]);  // else the compiler makes one for each row
    }
    const float* end = u + depth * kPanel;
    for (const float* k = u; k != end; k += kPanel) {
      const Vector x = load(k + first), y = load(k + first + kLanes);
      STYLEGAN_UNROLL for (int r = 0; r < R; ++r) {
        const float s = p[r / 3][r % 3 * stride];
        low[r] += s * x;
        high[r] += s * y;
      }
      STYLEGAN_UNROLL for (int i = 0; i < kPointers; ++i) ++p[i];
    }
    STYLEGAN_UNROLL for (int r = 0; r < R; ++r) {
      store(c + r * kPanel + first, low[r]);
      store(c + r * kPanel + first + kLanes, high[r]);
    }
  }
}

template <int R>
STYLEGAN_TARGET void fewer_rows(const float* a, int64_t stride, int64_t rows, const float* u, int64_t depth, float* c) {
  if (rows == R) rows_of<R>(a, stride, u, depth, c);
  else if constexpr (R > 1) fewer_rows<R - 1>(a, stride, rows, u, depth, c);
}

STYLEGAN_TARGET void multiply(const float* a, int64_t stride, int64_t rows, const float* u, int64_t depth, float* c) {
  for (int64_t parts = (rows + kRows - 1) / kRows; parts > 0; --parts) {
    const int64_t count = (rows + parts - 1) / parts;  // alike: a single row takes nearly as long as many
    fewer_rows<kRows>(a, stride, count, u, depth, c);
    a += count * stride;
    c += count * kPanel;
    rows -= count;
  }
}

template <WinogradForm F>
STYLEGAN_TARGET void output(const float* m, int64_t frequency, const WinogradOutput& o) {
  constexpr int kF = Axis<F>::kFrequencies, kOut = Axis<F>::kOutputs;
  for (int64_t c = 0; c < o.channels; c += kLanes) {
    Vector half[kOut][kF];
    STYLEGAN_UNROLL for (int j = 0; j < kF; ++j) {
      Vector t[kF], y[kOut];
      STYLEGAN_UNROLL for (int i = 0; i < kF; ++i) t[i] = load(m + (i * kF + j) * frequency + c);
      Axis<F>::output(t, y);
      STYLEGAN_UNROLL for (int i = 0; i < kOut; ++i) half[i][j] = y[i];
    }
    const Vector scale = o.scale == nullptr ? Vector{} + 1.f : load(o.scale + c);
    const Vector b = o.b == nullptr ? Vector{} : load(o.b + c);
    for (int i = 0; i < o.rows; ++i) {
      Vector y[kOut];
      Axis<F>::output(half[i], y);
      STYLEGAN_UNROLL for (int j = 0; j < kOut; ++j) {
        if (j >= o.columns) break;
        const float noise = o.noise == nullptr ? 0.f : o.noise[i * o.noise_row + j];
        store(o.y + i * o.y_row + j * o.y_column + c, activated(y[j] * scale + (b + noise), o));
      }
    }
  }
}

template <WinogradForm F> STYLEGAN_TARGET void weights(const float* w, float* u, int64_t frequency) {
  constexpr int kU = winograd_sides(F).weights;
  for (int64_t c = 0; c < kPanel; c += kLanes) {
    Vector half[3][kU];
    STYLEGAN_UNROLL for (int i = 0; i < 3; ++i) {
      Vector g[3];
      STYLEGAN_UNROLL for (int j = 0; j < 3; ++j) g[j] = load(w + (i * 3 + j) * kPanel + c);
      Axis<F>::weights(g, half[i]);
    }
    STYLEGAN_UNROLL for (int j = 0; j < kU; ++j) {
      Vector g[3], t[kU];
      STYLEGAN_UNROLL for (int i = 0; i < 3; ++i) g[i] = half[i][j];
      Axis<F>::weights(g, t);
      STYLEGAN_UNROLL for (int i = 0; i < kU; ++i) store(u + (i * kU + j) * frequency + c, t[i]);
    }
  }
}

// As rows_of, of R columns of a, added to c. Sums of a round stay short, and so do their rounding errors: in one chain
// over all tiles of large images they pass those of a direct sum ten times.
template <int R> STYLEGAN_TARGET void columns_of(const float* a, const float* u, int64_t depth, float* c, int64_t stride) {
  for (int64_t first = 0; first < kPanel; first += 2 * kLanes) {
    Vector low[R] = {}, high[R] = {};
    for (int64_t k = 0; k < depth; ++k) {
      const Vector x = load(u + k * kPanel + first), y = load(u + k * kPanel + first + kLanes);
      STYLEGAN_UNROLL for (int r = 0; r < R; ++r) {
        const float s = a[k * kPanel + r];
        low[r] += s * x;
        high[r] += s * y;
      }
    }
    STYLEGAN_UNROLL for (int r = 0; r < R; ++r) {
      float* const to = c + r * stride + first;
      store(to, load(to) + low[r]);
      store(to + kLanes, load(to + kLanes) + high[r]);
    }
  }
}

template <int R>
STYLEGAN_TARGET void fewer_columns(const float* a, int64_t columns, const float* u, int64_t depth, float* c, int64_t stride) {
  if (columns == R) columns_of<R>(a, u, depth, c, stride);
  else if constexpr (R > 1) fewer_columns<R - 1>(a, columns, u, depth, c, stride);
}

STYLEGAN_TARGET void multiply_adjoint(const float* a, int64_t columns, const float* u, int64_t depth, float* c, int64_t stride) {
  for (int64_t parts = (columns + kRows - 1) / kRows; parts > 0; --parts) {
    const int64_t count = (columns + parts - 1) / parts;
    fewer_columns<kRows>(a, count, u, depth, c, stride);
    a += count;
    c += count * stride;
    columns -= count;
  }
}

template <WinogradForm F> STYLEGAN_TARGET void weights_adjoint(const float* u, int64_t frequency, float* w) {
  constexpr int kU = winograd_sides(F).weights;
  for (int64_t c = 0; c < kPanel; c += kLanes) {
    Vector half[3][kU];
    STYLEGAN_UNROLL for (int j = 0; j < kU; ++j) {
      Vector t[kU], g[3];
      STYLEGAN_UNROLL for (int i = 0; i < kU; ++i) t[i] = load(u + (i * kU + j) * frequency + c);
      Axis<F>::weights_adjoint(t, g);
      STYLEGAN_UNROLL for (int i = 0; i < 3; ++i) half[i][j] = g[i];
    }
    STYLEGAN_UNROLL for (int i = 0; i < 3; ++i) {
      Vector g[3];
      Axis<F>::weights_adjoint(half[i], g);
      STYLEGAN_UNROLL for (int j = 0; j < 3; ++j) store(w + (i * 3 + j) * kPanel + c, g[j]);
    }
  }
}

using Form = WinogradForm;
const WinogradKernels kKernels = {
    {spread<InputOf<Form::tile2>>, spread<InputOf<Form::tile4>>, spread<InputOf<Form::up>>, spread<InputOf<Form::down>>},
    multiply,
    {output<Form::tile2>, output<Form::tile4>, output<Form::up>, output<Form::down>},
    {weights<Form::tile2>, weights<Form::tile4>, weights<Form::up>, weights<Form::down>},
    {spread<OutputAdjointOf<Form::tile2>>, spread<OutputAdjointOf<Form::tile4>>, nullptr, spread<OutputAdjointOf<Form::down>>},
    multiply_adjoint,
    {weights_adjoint<Form::tile2>, weights_adjoint<Form::tile4>, nullptr, weights_adjoint<Form::down>}};
