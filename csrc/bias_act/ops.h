// SPDX-License-Identifier: Apache-2.0
// The ops of bias_act: arguments checked, outputs allocated, kernels called. The math: stylegan_ops, bias_act.py.
#pragma once

#include "bias_act/params.h"
#include "lib/op.h"
#include "lib/tensor.h"

namespace stylegan::bias_act {

inline int64_t positive_dim(const Tensor& x, int64_t dim) { return dim < 0 ? dim + x.dim() : dim; }

inline Channels channels_of(const Tensor& x, int64_t dim, bool used) {
  const int64_t size = x.numel();
  if (!used || x.dim() == 0 || size == 0) return {size, 1, std::max<int64_t>(size, 1)};
  const int64_t d = positive_dim(x, dim);
  return x.size(d) == 1 ? Channels{size, 1, size} : Channels{size, x.size(d), x.stride(d)};
}

inline ActParams checked_act_params(int64_t act, double alpha, double gain, double clamp) {
  STD_TORCH_CHECK(act >= 0 && act <= static_cast<int64_t>(Act::swish), "bias_act: unknown activation ", act);
  return act_params(static_cast<Act>(act), alpha, gain, clamp);
}

// The sums of a gradient by channel: [channels] in the dtype of arithmetic, or [0] if nobody asks for them.
inline Tensor channel_sums(const Tensor& x, int64_t dim, bool sum) {
  const int64_t size = sum ? x.size(positive_dim(x, dim)) : 0;
  Tensor db = empty_vector(x, size, arithmetic_type(x));
  if (sum && x.numel() == 0) torch::stable::zero_(db);
  return db;
}

inline Tensor empty_as(const Tensor& x) { return empty_strided(x, x.sizes().data(), strides_of(x), x.scalar_type()); }

struct ForwardCall {
  Tensor x;
  std::optional<Tensor> b;
  int64_t dim, act;
  double alpha, gain, clamp;
  bool save;
};

// Returns y and the mask for mask_grad; without `save` the mask has no elements.
template <class Device> std::tuple<Tensor, Tensor> forward(ForwardCall a) {
  const ActParams p = checked_act_params(a.act, a.alpha, a.gain, a.clamp);
  const ChannelArgument bias("bias_act", "b", a.b, a.x, a.dim);
  const Tensor x = dense(a.x);
  Tensor y = empty_as(x);
  const int64_t planes = a.save ? mask_planes(p) : 0;
  STD_TORCH_CHECK(planes == 0 || piecewise_linear(p.act), "bias_act: save is for piecewise linear activations");
  Tensor mask = empty_vector(x, planes * mask_plane_bytes(x.numel()), ScalarType::Byte);
  if (x.numel() > 0) {
    const typename Device::Context context(x);
    Device::bias_act(dtype_of(x), p, channels_of(x, a.dim, bias.given()), x.const_data_ptr(), bias.data(),
                     y.mutable_data_ptr(), planes ? static_cast<uint8_t*>(mask.mutable_data_ptr()) : nullptr, context);
  }
  return {y, mask};
}

struct MaskGradCall {
  Tensor dy;
  std::optional<Tensor> e;
  Tensor mask;
  Strides strides;
  int64_t dim;
  double negative, positive;
  bool has_clamp, sum;
};

template <class Device> std::tuple<Tensor, Tensor> mask_grad(MaskGradCall a) {
  const char* op = "bias_act_mask_grad";
  const ChannelArgument extra(op, "e", a.e, a.dy, a.dim);
  STD_TORCH_CHECK(static_cast<int64_t>(a.strides.size()) == a.dy.dim(), op, ": strides do not fit dy");
  const int64_t plane = mask_plane_bytes(a.dy.numel());
  // Without a mask the slope must be the same everywhere.
  const int64_t planes = a.has_clamp ? 2 : a.negative == a.positive ? 0 : 1;
  STD_TORCH_CHECK(a.mask.numel() == planes * plane || (planes == 0 && a.mask.numel() == plane), op,
                  ": mask does not fit dy");
  STD_TORCH_CHECK(a.mask.device() == a.dy.device(), op, ": mask must be on the device of dy");
  const Tensor dy = with_strides(a.dy, a.strides);
  Tensor dx = empty_strided(dy, dy.sizes().data(), a.strides, dy.scalar_type());
  Tensor db = channel_sums(dy, a.dim, a.sum);
  if (dy.numel() > 0) {
    const typename Device::Context context(dy);
    Device::bias_act_mask_grad(dtype_of(dy), Slopes{a.negative, a.positive}, a.has_clamp,
                               channels_of(dx, a.dim, a.sum || extra.given()), dy.const_data_ptr(), extra.data(),
                               a.mask.numel() ? static_cast<const uint8_t*>(a.mask.const_data_ptr()) : nullptr,
                               dx.mutable_data_ptr(), a.sum ? db.mutable_data_ptr() : nullptr, context);
  }
  return {dx, db};
}

struct GradCall {
  Tensor dy, x;
  std::optional<Tensor> b;
  int64_t dim, act;
  double gain, clamp;
  bool sum;
};

template <class Device> std::tuple<Tensor, Tensor> grad(GradCall a) {
  const char* op = "bias_act_grad";
  const ActParams p = checked_act_params(a.act, 0, a.gain, a.clamp);
  const ChannelArgument bias(op, "b", a.b, a.x, a.dim);
  check_like(op, "dy", a.dy, a.x);
  const Tensor x = dense(a.x), dy = with_strides(a.dy, strides_of(x));
  Tensor dx = empty_as(x);
  Tensor db = channel_sums(x, a.dim, a.sum);
  if (x.numel() > 0) {
    const typename Device::Context context(x);
    Device::bias_act_grad(dtype_of(x), p, channels_of(x, a.dim, a.sum || bias.given()), dy.const_data_ptr(),
                          x.const_data_ptr(), bias.data(), dx.mutable_data_ptr(),
                          a.sum ? db.mutable_data_ptr() : nullptr, context);
  }
  return {dx, db};
}

struct GradGradCall {
  Tensor ddx;
  std::optional<Tensor> ddb;
  Tensor dy, x;
  std::optional<Tensor> b;
  int64_t dim, act;
  double gain, clamp;
  bool sum;
};

template <class Device> std::tuple<Tensor, Tensor, Tensor> grad_grad(GradGradCall a) {
  const char* op = "bias_act_grad_grad";
  const ActParams p = checked_act_params(a.act, 0, a.gain, a.clamp);
  const ChannelArgument bias(op, "b", a.b, a.x, a.dim), extra(op, "ddb", a.ddb, a.x, a.dim);
  check_like(op, "dy", a.dy, a.x);
  check_like(op, "ddx", a.ddx, a.x);
  const Tensor x = dense(a.x), dy = with_strides(a.dy, strides_of(x)), ddx = with_strides(a.ddx, strides_of(x));
  Tensor d_dy = empty_as(x), d_x = empty_as(x);
  Tensor d_b = channel_sums(x, a.dim, a.sum);
  if (x.numel() > 0) {
    const typename Device::Context context(x);
    Device::bias_act_grad_grad(dtype_of(x), p, channels_of(x, a.dim, a.sum || bias.given() || extra.given()),
                               ddx.const_data_ptr(), extra.data(), dy.const_data_ptr(), x.const_data_ptr(), bias.data(),
                               d_dy.mutable_data_ptr(), d_x.mutable_data_ptr(),
                               a.sum ? d_b.mutable_data_ptr() : nullptr, context);
  }
  return {d_dy, d_x, d_b};
}

template <class Device> void implement_ops(Library& m) {
  implement_with_raw<&forward<Device>>(m, "bias_act");
  implement_with_raw<&mask_grad<Device>>(m, "bias_act_mask_grad");
  implement_with_raw<&grad<Device>>(m, "bias_act_grad");
  implement<&grad_grad<Device>>(m, "bias_act_grad_grad");
}

}  // namespace stylegan::bias_act
