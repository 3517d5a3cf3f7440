// SPDX-License-Identifier: Apache-2.0
// csrc/upfirdn2d/cuda/upfirdn2d.cuh for ctypes.
#include "upfirdn2d/cuda/upfirdn2d.cuh"

#include "entry.h"

using namespace stylegan;
namespace kernels = stylegan::upfirdn2d::cuda;

ENTRY int64_t plane_bytes(int64_t size) { return mask_plane_bytes(size); }

// Good until the next one.
ENTRY const Epilogue* epilogue(const void* scale, const void* noise, const void* b, int noise_per_sample,
                               double negative, double positive, double clamp, void* mask, int planes) {
  static Epilogue e;
  e = {scale, noise, b, noise_per_sample != 0, {negative, positive}, clamp, static_cast<uint8_t*>(mask), planes};
  return &e;
}

// x_axis, y_axis: up, down, taps, origin, in, out. Null, or what went wrong.
ENTRY const char* upfirdn2d(int dtype, int64_t samples, int64_t channels, int channels_last, const int64_t* x_axis,
                            const int64_t* y_axis, const void* taps, int separable, int flip, double gain,
                            const Epilogue* epilogue, const void* x, void* y) {
  const auto axis = [](const int64_t* a) { return FirAxis{a[0], a[1], a[2], a[3], a[4], a[5]}; };
  const stylegan::upfirdn2d::Fir fir{samples, channels,       channels_last != 0, axis(x_axis), axis(y_axis),
                                     taps,    separable != 0, flip != 0,          gain};
  return message([&] { kernels::run(static_cast<Dtype>(dtype), fir, epilogue, x, y, nullptr); });
}
