// SPDX-License-Identifier: Apache-2.0
// csrc/bias_act/cuda/bias_act.cuh for ctypes. Functions return null, or what went wrong.
#include "bias_act/cuda/bias_act.cuh"

#include "entry.h"

using namespace stylegan;
namespace kernels = stylegan::bias_act::cuda;

ENTRY int64_t plane_bytes(int64_t size) { return mask_plane_bytes(size); }

ENTRY int64_t partial_size(int64_t size, int64_t channels, int64_t inner) {
  return kernels::partial_size({size, channels, inner});
}

ENTRY const char* forward(int dtype, int act, double alpha, double gain, double clamp, int64_t size, int64_t channels,
                          int64_t inner, const void* x, const void* b, void* y, void* mask) {
  return message([&] {
    kernels::forward(static_cast<Dtype>(dtype), bias_act::act_params(static_cast<Act>(act), alpha, gain, clamp),
                     {size, channels, inner}, x, b, y, static_cast<uint8_t*>(mask), nullptr);
  });
}

ENTRY const char* mask_grad(int dtype, double negative, double positive, int has_clamp, int64_t size, int64_t channels,
                            int64_t inner, const void* dy, const void* e, const void* mask, void* dx, void* db,
                            void* partial) {
  return message([&] {
    kernels::mask_grad(static_cast<Dtype>(dtype), {negative, positive}, has_clamp != 0, {size, channels, inner}, dy, e,
                       static_cast<const uint8_t*>(mask), dx, db, partial, nullptr);
  });
}

ENTRY const char* grad(int dtype, int act, double alpha, double gain, double clamp, int64_t size, int64_t channels,
                       int64_t inner, const void* dy, const void* x, const void* b, void* dx, void* db, void* partial) {
  return message([&] {
    const bias_act::ActParams p = bias_act::act_params(static_cast<Act>(act), alpha, gain, clamp);
    kernels::grad(static_cast<Dtype>(dtype), p, {size, channels, inner}, dy, x, b, dx, db, partial, nullptr);
  });
}

ENTRY const char* grad_grad(int dtype, int act, double alpha, double gain, double clamp, int64_t size, int64_t channels,
                            int64_t inner, const void* ddx, const void* ddb, const void* dy, const void* x,
                            const void* b, void* d_dy, void* d_x, void* d_b, void* partial) {
  return message([&] {
    const bias_act::ActParams p = bias_act::act_params(static_cast<Act>(act), alpha, gain, clamp);
    kernels::grad_grad(static_cast<Dtype>(dtype), p, {size, channels, inner}, ddx, ddb, dy, x, b, d_dy, d_x, d_b,
                       partial, nullptr);
  });
}
