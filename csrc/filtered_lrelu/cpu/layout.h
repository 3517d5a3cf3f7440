// SPDX-License-Identifier: Apache-2.0
// Included by loops.h: between images in memory and rows of pixels.

STYLEGAN_TARGET void gather(const float* x, int64_t step, int64_t pixels, const float* b, float* dst) {
  Vector shift[kVectors];
  STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j) shift[j] = load(b + j * kLanes);
  for (int64_t i = 0; i < pixels; ++i)
    STYLEGAN_UNROLL for (int j = 0; j < kVectors; ++j)
        store(dst + i * kPixel + j * kLanes, load(x + i * step + j * kLanes) + shift[j]);
}

// to[c, r] = from[r, c] + shift[r], kPixel x kPixel floats.
STYLEGAN_INLINE void transpose(const float* from, int64_t from_row, const float* shift, float* to, int64_t to_row) {
  constexpr int kSide = static_cast<int>(kLanes);
  for (int64_t r = 0; r < kPixel; r += kSide) {
    const Vector b = load(shift + r);
    for (int64_t c = 0; c < kPixel; c += kSide) {
      Vector v[kSide];
      STYLEGAN_UNROLL for (int i = 0; i < kSide; ++i) v[i] = load(from + (r + i) * from_row + c);
      exchange(v);
      STYLEGAN_UNROLL for (int i = 0; i < kSide; ++i) store(to + (c + i) * to_row + r, v[i] + b);
    }
  }
}

STYLEGAN_TARGET void to_pixels(const float* rows, int64_t row, int64_t pixels, const float* b, float* dst) {
  for (; pixels >= kPixel; pixels -= kPixel, rows += kPixel, dst += kPixel * kPixel)
    transpose(rows, row, b, dst, kPixel);
  for (int64_t i = 0; i < pixels; ++i)
    for (int64_t j = 0; j < kPixel; ++j) dst[i * kPixel + j] = rows[j * row + i] + b[j];
}

STYLEGAN_TARGET void to_rows(const float* from, int64_t pixels, float* rows, int64_t row) {
  const float zero[kPixel] = {};
  for (; pixels >= kPixel; pixels -= kPixel, rows += kPixel, from += kPixel * kPixel)
    transpose(from, kPixel, zero, rows, row);
  for (int64_t j = 0; j < kPixel; ++j)
    for (int64_t i = 0; i < pixels; ++i) rows[j * row + i] = from[i * kPixel + j];
}
