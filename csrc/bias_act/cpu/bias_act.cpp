// SPDX-License-Identifier: Apache-2.0
// Tiling: blocks of 512 elements in memory order, for every layout. A block is loaded into L1 and converted. Bias,
// activation, gain, clamp and the bits of the mask are loops over it there. Then it is stored. Each tensor passes
// through DRAM once, which bounds the kernel. For piecewise linear activations the backward reads two bits a sample
// instead of x.
//
// Sums over channels are taken in chunks of the image that do not depend on the number of threads, in
// double, and added in order: the result is the same bits in every run.

#include "bias_act/cpu/bias_act.h"

#include "bias_act/cpu/blocks.h"
#include "lib/cpu/piecewise.h"

namespace stylegan::bias_act::cpu {
namespace {

template <class C, Act A>
void forward_blocks(Dtype dtype, ActParams p, Channels channels, const void* x, const void* b, void* y, uint8_t* mask,
                    const ParallelFor& parallel_for) {
  const ChannelVector<C> bias(channels, b);
  const C alpha = static_cast<C>(p.alpha), gain = static_cast<C>(p.gain), clamp = static_cast<C>(p.clamp);
  const bool clamps = has_clamp(p);
  uint8_t* inside_plane = mask + mask_plane_bytes(channels.size);
  for_blocks<C>(channels, nullptr, parallel_for, [=, &bias](int64_t first, int64_t count, Buffers<C>& buffers) {
    const C* __restrict u = bias.plus(first, count, input_block(dtype, x, first, count, buffers.in[0]), buffers.sum[0]);
    C* __restrict v = output_block(dtype, y, first, count, buffers.out[0]);
    if (mask != nullptr) pack(mask, first, [=](int64_t i) { return u[i] > 0; });
    for (int64_t i = 0; i < kBlock; ++i) v[i] = Activation<A, C>::value(u[i], alpha) * gain;
    const bool nothing_to_clamp =
        !clamps || (mask != nullptr && pack(inside_plane, first, [=](int64_t i) { return inside(v[i], clamp); }));
    if (!nothing_to_clamp)
      for (int64_t i = 0; i < kBlock; ++i) v[i] = clamped(v[i], clamp);
    finish_block(dtype, y, first, count, v);
    return v;
  });
}

template <class C>
void mask_grad_blocks(Dtype dtype, Slopes slopes, bool has_clamp, Channels channels, const void* dy, const void* e,
                      const uint8_t* mask, void* dx, void* db, const ParallelFor& parallel_for) {
  const ChannelVector<C> extra(channels, e);
  for_blocks<C>(channels, db, parallel_for, [=, &extra](int64_t first, int64_t count, Buffers<C>& buffers) {
    const C* u = extra.plus(first, count, input_block(dtype, dy, first, count, buffers.in[0]), buffers.sum[0]);
    C* v = output_block(dtype, dx, first, count, buffers.out[0]);
    times_slope_of(mask, slopes, has_clamp, channels.size, first, u, v);
    finish_block(dtype, dx, first, count, v);
    return v;
  });
}

template <class C, Act A>
void grad_blocks(Dtype dtype, ActParams p, Channels channels, const void* dy, const void* x, const void* b, void* dx,
                 void* db, const ParallelFor& parallel_for) {
  const ChannelVector<C> bias(channels, b);
  const C alpha = static_cast<C>(p.alpha), gain = static_cast<C>(p.gain), clamp = static_cast<C>(p.clamp);
  const bool clamps = has_clamp(p);
  for_blocks<C>(channels, db, parallel_for, [=, &bias](int64_t first, int64_t count, Buffers<C>& buffers) {
    const C* __restrict u = bias.plus(first, count, input_block(dtype, x, first, count, buffers.in[0]), buffers.sum[0]);
    const C* __restrict w = input_block(dtype, dy, first, count, buffers.in[1]);
    C* __restrict v = output_block(dtype, dx, first, count, buffers.out[0]);
    if (clamps)
      for (int64_t i = 0; i < kBlock; ++i) v[i] = times_slope<A, true>(w[i], u[i], alpha, gain, clamp);
    else
      for (int64_t i = 0; i < kBlock; ++i) v[i] = times_slope<A, false>(w[i], u[i], alpha, gain, clamp);
    finish_block(dtype, dx, first, count, v);
    return v;
  });
}

template <class C, Act A>
void grad_grad_blocks(Dtype dtype, ActParams p, Channels channels, const void* ddx, const void* ddb, const void* dy,
                      const void* x, const void* b, void* d_dy, void* d_x, void* d_b, const ParallelFor& parallel_for) {
  const ChannelVector<C> bias(channels, b), extra(channels, ddb);
  const C alpha = static_cast<C>(p.alpha), gain = static_cast<C>(p.gain), clamp = static_cast<C>(p.clamp);
  const bool clamps = has_clamp(p);
  for_blocks<C>(channels, d_b, parallel_for, [=, &bias, &extra](int64_t first, int64_t count, Buffers<C>& buffers) {
    const C* __restrict u = bias.plus(first, count, input_block(dtype, x, first, count, buffers.in[0]), buffers.sum[0]);
    const C* __restrict w =
        extra.plus(first, count, input_block(dtype, ddx, first, count, buffers.in[1]), buffers.sum[1]);
    C* __restrict grad_dy = output_block(dtype, d_dy, first, count, buffers.out[0]);
    const C* __restrict d = input_block(dtype, dy, first, count, buffers.in[2]);
    C* __restrict grad_x = output_block(dtype, d_x, first, count, buffers.out[1]);
    if (clamps) {
      for (int64_t i = 0; i < kBlock; ++i) grad_dy[i] = times_slope<A, true>(w[i], u[i], alpha, gain, clamp);
      for (int64_t i = 0; i < kBlock; ++i) grad_x[i] = times_curvature<A, true>(w[i] * d[i], u[i], alpha, gain, clamp);
    } else {
      for (int64_t i = 0; i < kBlock; ++i) grad_dy[i] = times_slope<A, false>(w[i], u[i], alpha, gain, clamp);
      for (int64_t i = 0; i < kBlock; ++i) grad_x[i] = times_curvature<A, false>(w[i] * d[i], u[i], alpha, gain, clamp);
    }
    finish_block(dtype, d_dy, first, count, grad_dy);
    finish_block(dtype, d_x, first, count, grad_x);
    return grad_x;
  });
}

}  // namespace

void forward(Dtype dtype, ActParams p, Channels channels, const void* x, const void* b, void* y, uint8_t* mask,
             const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    with_act(p.act, [&](auto act) {
      forward_blocks<decltype(c), act.value>(dtype, p, channels, x, b, y, mask, parallel_for);
    });
  });
}

void mask_grad(Dtype dtype, Slopes slopes, bool has_clamp, Channels channels, const void* dy, const void* e,
               const uint8_t* mask, void* dx, void* db, const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    mask_grad_blocks<decltype(c)>(dtype, slopes, has_clamp, channels, dy, e, mask, dx, db, parallel_for);
  });
}

void grad(Dtype dtype, ActParams p, Channels channels, const void* dy, const void* x, const void* b, void* dx, void* db,
          const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    with_smooth_act(p.act, [&](auto act) {
      grad_blocks<decltype(c), act.value>(dtype, p, channels, dy, x, b, dx, db, parallel_for);
    });
  });
}

void grad_grad(Dtype dtype, ActParams p, Channels channels, const void* ddx, const void* ddb, const void* dy,
               const void* x, const void* b, void* d_dy, void* d_x, void* d_b, const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    with_smooth_act(p.act, [&](auto act) {
      grad_grad_blocks<decltype(c), act.value>(dtype, p, channels, ddx, ddb, dy, x, b, d_dy, d_x, d_b, parallel_for);
    });
  });
}

}  // namespace stylegan::bias_act::cpu
