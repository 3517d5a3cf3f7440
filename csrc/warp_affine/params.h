// SPDX-License-Identifier: Apache-2.0
// The parameters of warp_affine's kernels on both devices, and where a sample lies.
//
// Along an axis of `size` px and with K taps, y[o] = sum over k of f[k] * v[2 o + k]. v has 2 size + K - 2 samples.
// Sample r of v is read at u = linear * (r - center) + shift of the fine image z, bilinear, 0 outside. The fine image
// has two samples for each pixel of the reflected image: z[i] = 2 * sum over k of f[K - 1 - k] * x[(i + k - K / 2) /
// 2], over those k for which the division has no remainder. The reflected image has the pixels -(size - 1) to 2 size -
// 2 and is 0 outside, so the fine one has the samples -2 (size - 1) to 4 size - 3.
#pragma once

#include <cstdint>

#include "lib/host_device.h"

namespace stylegan::warp_affine {

// y [samples, channels, height, width] from x of the same shape, or the adjoint of that; contiguous.
struct Params {
  int64_t samples, channels, height, width;
  int64_t taps;        // K, divisible by 4
  const void* matrix;  // [samples, 3, 3], in the dtype of arithmetic
  const void* f;       // [taps], in the dtype of arithmetic
  bool adjoint;
};

STYLEGAN_HOST_DEVICE int64_t mid_size(int64_t size, int64_t taps) { return 2 * size + taps - 2; }
STYLEGAN_HOST_DEVICE int64_t mid_center(int64_t size, int64_t taps) { return size + taps / 2 - 2; }

// Pixel of the image that pixel m of the reflected one shows, or -1.
STYLEGAN_HOST_DEVICE int64_t reflected(int64_t m, int64_t size) {
  if (m <= -size || m > 2 * (size - 1)) return -1;
  return m < 0 ? -m : m < size ? m : 2 * (size - 1) - m;
}

// u = (xx, xy; yx, yy) * (r - center) + (x, y), for sample (column, row) r - center.
template <class T> struct Map {
  T xx, xy, x, yx, yy, y;
};

template <class T> STYLEGAN_HOST_DEVICE Map<T> map_of(const T* matrix, int64_t height, int64_t width) {
  return {matrix[0], matrix[1], 2 * matrix[2] + static_cast<T>(width - 1),
          matrix[3], matrix[4], 2 * matrix[5] + static_cast<T>(height - 1)};
}

}  // namespace stylegan::warp_affine
