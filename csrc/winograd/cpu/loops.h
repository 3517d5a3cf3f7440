// SPDX-License-Identifier: Apache-2.0
// Included by winograd_<isa>.cpp, in a namespace of its own. The includer defines Vector, of kLanes floats, kRows, the
// rows of a product that its registers hold, and STYLEGAN_TARGET, which allows the compiler these instructions.

#include "lib/cpu/simd/lanes.h"
#include "winograd/cpu/axes.h"

// The first `count` lanes of a vector, the rest 0.
STYLEGAN_INLINE Vector load_part(const float* p, int64_t count) {
  float v[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) v[i] = p[i];
  return load(v);
}
template <bool kPart> STYLEGAN_INLINE Vector load_lanes(const float* p, int64_t lanes) {
  if constexpr (kPart)
    return load_part(p, lanes);
  else
    return load(p);
}
STYLEGAN_INLINE void store_part(float* p, const Vector& value, int64_t count) {
  float v[kLanes];
  store(v, value);
  for (int64_t i = 0; i < count; ++i) p[i] = v[i];
}

// Of Epilogue: NaN stays NaN, and infinity times a slope of 0 is 0.
STYLEGAN_INLINE Vector activated(const Vector& u, const Output& o) {
  const Vector zero{}, limit = zero + o.clamp;
  const Vector below = o.negative == 0 ? where_above(zero, u, zero, u) : o.negative * u;
  const Vector v = where_above(u, zero, o.positive * u, below);
  return where_above(-limit, v, -limit, where_above(v, limit, limit, v));
}

template <Form F> struct InputOf {
  static constexpr int kFrom = Axis<F>::kInputs, kTo = Axis<F>::kFrequencies;
  static STYLEGAN_INLINE void map(const Vector (&d)[kFrom], Vector (&t)[kTo]) { Axis<F>::input(d, t); }
};
template <Form F> struct OutputAdjointOf {
  static constexpr int kFrom = Axis<F>::kOutputs, kTo = Axis<F>::kFrequencies;
  static STYLEGAN_INLINE void map(const Vector (&d)[kFrom], Vector (&t)[kTo]) { Axis<F>::output_adjoint(d, t); }
};

// One vector of channels, of which `lanes` exist.
template <class Map, bool kPart>
STYLEGAN_INLINE void spread_vector(const float* const* pixels, const float* styles, int64_t c, int64_t lanes, float* to,
                                   int64_t frequency) {
  constexpr int kFrom = Map::kFrom, kTo = Map::kTo;
  const Vector style = styles == nullptr ? Vector{} + 1.f : load_lanes<kPart>(styles + c, lanes);
  Vector half[kTo][kFrom];
  STYLEGAN_UNROLL for (int j = 0; j < kFrom; ++j) {
    Vector d[kFrom], t[kTo];
    STYLEGAN_UNROLL for (int i = 0; i < kFrom; ++i) d[i] = load_lanes<kPart>(pixels[i * kFrom + j] + c, lanes) * style;
    Map::map(d, t);
    STYLEGAN_UNROLL for (int i = 0; i < kTo; ++i) half[i][j] = t[i];
  }
  STYLEGAN_UNROLL for (int i = 0; i < kTo; ++i) {
    Vector t[kTo];
    Map::map(half[i], t);
    STYLEGAN_UNROLL for (int j = 0; j < kTo; ++j) store(to + (i * kTo + j) * frequency, t[j]);
  }
}

template <class Map>
STYLEGAN_TARGET void spread(const float* const* pixels, const float* styles, int64_t channels, float* v,
                            int64_t frequency, int64_t panel) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes)
    spread_vector<Map, false>(pixels, styles, c, kLanes, v + c / kPanel * panel + c % kPanel, frequency);
  if (c < channels)
    spread_vector<Map, true>(pixels, styles, c, channels - c, v + c / kPanel * panel + c % kPanel, frequency);
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
      STYLEGAN_OPAQUE(p[i]);  // or the compiler keeps one for each row
    }
    const float* end = u + depth * kPanel;
    for (const float* k = u; k != end; k += kPanel) {
      const Vector x = load(k + first), y = load(k + first + kLanes);
      STYLEGAN_UNROLL for (int r = 0; r < R; ++r) {
        const float s = p[r / 3][r % 3 * stride];
        low[r] += s * x;
        high[r] += s * y;
      }
      STYLEGAN_UNROLL for (int i = 0; i < kPointers; ++i)++ p[i];
    }
    STYLEGAN_UNROLL for (int r = 0; r < R; ++r) {
      store(c + r * kPanel + first, low[r]);
      store(c + r * kPanel + first + kLanes, high[r]);
    }
  }
}

template <int R>
STYLEGAN_TARGET void fewer_rows(const float* a, int64_t stride, int64_t rows, const float* u, int64_t depth, float* c) {
  if (rows == R)
    rows_of<R>(a, stride, u, depth, c);
  else if constexpr (R > 1)
    fewer_rows<R - 1>(a, stride, rows, u, depth, c);
}

STYLEGAN_TARGET void multiply(const float* a, int64_t stride, int64_t rows, const float* u, int64_t depth, float* c) {
  for (int64_t parts = (rows + kRows - 1) / kRows; parts > 0; --parts) {
    const int64_t count = (rows + parts - 1) / parts;  // equal parts: a single row takes nearly as long as many
    fewer_rows<kRows>(a, stride, count, u, depth, c);
    a += count * stride;
    c += count * kPanel;
    rows -= count;
  }
}

// One vector of channels from c on, of which `lanes` exist.
template <Form F, bool kPart>
STYLEGAN_INLINE void output_vector(const float* m, int64_t frequency, const Output& o, int64_t c, int64_t lanes) {
  constexpr int kF = Axis<F>::kFrequencies, kOut = Axis<F>::kOutputs;
  Vector half[kOut][kF];
  STYLEGAN_UNROLL for (int j = 0; j < kF; ++j) {
    Vector t[kF], y[kOut];
    STYLEGAN_UNROLL for (int i = 0; i < kF; ++i) t[i] = load(m + (i * kF + j) * frequency + c);
    Axis<F>::output(t, y);
    STYLEGAN_UNROLL for (int i = 0; i < kOut; ++i) half[i][j] = y[i];
  }
  const Vector scale = o.scale == nullptr ? Vector{} + 1.f : load_lanes<kPart>(o.scale + c, lanes);
  const Vector b = o.b == nullptr ? Vector{} : load_lanes<kPart>(o.b + c, lanes);
  for (int i = 0; i < o.rows; ++i) {
    Vector y[kOut];
    Axis<F>::output(half[i], y);
    STYLEGAN_UNROLL for (int j = 0; j < kOut; ++j) {
      if (j >= o.columns) break;
      const float noise = o.noise == nullptr ? 0.f : o.noise[i * o.noise_row + j];
      const Vector v = activated(y[j] * scale + (b + noise), o);
      float* const to = o.y + i * o.y_row + j * o.y_column + c;
      if constexpr (kPart)
        store_part(to, v, lanes);
      else
        store(to, v);
    }
  }
}

template <Form F> STYLEGAN_TARGET void output(const float* m, int64_t frequency, const Output& o) {
  int64_t c = 0;
  for (; c + kLanes <= o.channels; c += kLanes) output_vector<F, false>(m, frequency, o, c, kLanes);
  if (c < o.channels) output_vector<F, true>(m, frequency, o, c, o.channels - c);
}

template <Form F> STYLEGAN_TARGET void weights(const float* w, float* u, int64_t frequency) {
  constexpr int kU = sides_of(F).weights;
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
template <int R>
STYLEGAN_TARGET void columns_of(const float* a, const float* u, int64_t depth, float* c, int64_t stride) {
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
STYLEGAN_TARGET void fewer_columns(const float* a, int64_t columns, const float* u, int64_t depth, float* c,
                                   int64_t stride) {
  if (columns == R)
    columns_of<R>(a, u, depth, c, stride);
  else if constexpr (R > 1)
    fewer_columns<R - 1>(a, columns, u, depth, c, stride);
}

STYLEGAN_TARGET void multiply_adjoint(const float* a, int64_t columns, const float* u, int64_t depth, float* c,
                                      int64_t stride) {
  for (int64_t parts = (columns + kRows - 1) / kRows; parts > 0; --parts) {
    const int64_t count = (columns + parts - 1) / parts;
    fewer_columns<kRows>(a, count, u, depth, c, stride);
    a += count;
    c += count * stride;
    columns -= count;
  }
}

template <Form F> STYLEGAN_TARGET void weights_adjoint(const float* u, int64_t frequency, float* w) {
  constexpr int kU = sides_of(F).weights;
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

const Kernels kKernels = {
    {spread<InputOf<Form::tile2>>, spread<InputOf<Form::tile4>>, spread<InputOf<Form::up>>,
     spread<InputOf<Form::down>>},
    multiply,
    {output<Form::tile2>, output<Form::tile4>, output<Form::up>, output<Form::down>},
    {weights<Form::tile2>, weights<Form::tile4>, weights<Form::up>, weights<Form::down>},
    {spread<OutputAdjointOf<Form::tile2>>, spread<OutputAdjointOf<Form::tile4>>, nullptr,
     spread<OutputAdjointOf<Form::down>>},
    multiply_adjoint,
    {weights_adjoint<Form::tile2>, weights_adjoint<Form::tile4>, nullptr, weights_adjoint<Form::down>}};
