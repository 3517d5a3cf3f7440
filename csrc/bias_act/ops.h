// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "lib/tensor.h"

namespace stylegan {

inline ActParams checked_act_params(int64_t act, double alpha, double gain, double clamp) {
  STD_TORCH_CHECK(act >= 0 && act <= static_cast<int64_t>(Act::swish), "bias_act: unknown activation ", act);
  return act_params(static_cast<Act>(act), alpha, gain, clamp);
}

// The sums by channel of a gradient: [channels] in the dtype of arithmetic, or [0] where not asked for.
inline Tensor channel_sums(const Tensor& x, int64_t dim, bool sum) {
  const int64_t size = sum ? x.size(dim < 0 ? dim + x.dim() : dim) : 0;
  Tensor db = empty_vector(x, size, arithmetic_type(x));
  if (sum && x.numel() == 0) torch::stable::zero_(db);
  return db;
}

template <class Device>
std::tuple<Tensor, Tensor> bias_act(Tensor x, std::optional<Tensor> b, int64_t dim, int64_t act, double alpha,
                                    double gain, double clamp, bool save) {
  const ActParams p = checked_act_params(act, alpha, gain, clamp);
  const ChannelArgument bias("bias_act", "b", b, x, dim);
  x = dense(x);
  Tensor y = empty_strided(x, x.sizes().data(), strides_of(x), x.scalar_type());
  const int64_t planes = save ? mask_planes(p) : 0;
  STD_TORCH_CHECK(planes == 0 || piecewise_linear(p.act), "bias_act: save is for piecewise linear activations");
  Tensor mask = empty_vector(x, planes * mask_plane_bytes(x.numel()), ScalarType::Byte);
  if (x.numel() > 0) {
    const typename Device::Context context(x);
    Device::bias_act(dtype_of(x), p, channels_of(x, dim, bias.given()), x.const_data_ptr(), bias.data(),
                     y.mutable_data_ptr(), planes ? static_cast<uint8_t*>(mask.mutable_data_ptr()) : nullptr,
                     context);
  }
  return {y, mask};
}

template <class Device>
std::tuple<Tensor, Tensor> bias_act_mask_grad(Tensor dy, std::optional<Tensor> e, Tensor mask, Strides strides,
                                              int64_t dim, double negative, double positive, bool has_clamp,
                                              bool sum) {
  const char* op = "bias_act_mask_grad";
  const ChannelArgument extra(op, "e", e, dy, dim);
  STD_TORCH_CHECK(static_cast<int64_t>(strides.size()) == dy.dim(), op, ": strides do not fit dy");
  const int64_t plane = mask_plane_bytes(dy.numel());
  // Without a mask the slope must be the same everywhere.
  const int64_t planes = has_clamp ? 2 : negative == positive ? 0 : 1;
  STD_TORCH_CHECK(mask.numel() == planes * plane || (planes == 0 && mask.numel() == plane), op,
                  ": mask does not fit dy");
  STD_TORCH_CHECK(mask.device() == dy.device(), op, ": mask must be on the device of dy");
  dy = with_strides(dy, strides);
  Tensor dx = empty_strided(dy, dy.sizes().data(), strides, dy.scalar_type());
  Tensor db = channel_sums(dy, dim, sum);
  if (dy.numel() > 0) {
    const typename Device::Context context(dy);
    Device::bias_act_mask_grad(dtype_of(dy), Slopes{negative, positive}, has_clamp,
                               channels_of(dx, dim, sum || extra.given()), dy.const_data_ptr(), extra.data(),
                               mask.numel() ? static_cast<const uint8_t*>(mask.const_data_ptr()) : nullptr,
                               dx.mutable_data_ptr(), sum ? db.mutable_data_ptr() : nullptr, context);
  }
  return {dx, db};
}

template <class Device>
std::tuple<Tensor, Tensor> bias_act_grad(Tensor dy, Tensor x, std::optional<Tensor> b, int64_t dim, int64_t act,
                                         double gain, double clamp, bool sum) {
  const char* op = "bias_act_grad";
  const ActParams p = checked_act_params(act, 0, gain, clamp);
  const ChannelArgument bias(op, "b", b, x, dim);
  check_like(op, "dy", dy, x);
  x = dense(x);
  dy = with_strides(dy, strides_of(x));
  Tensor dx = empty_strided(x, x.sizes().data(), strides_of(x), x.scalar_type());
  Tensor db = channel_sums(x, dim, sum);
  if (x.numel() > 0) {
    const typename Device::Context context(x);
    Device::bias_act_grad(dtype_of(x), p, channels_of(x, dim, sum || bias.given()), dy.const_data_ptr(),
                          x.const_data_ptr(), bias.data(), dx.mutable_data_ptr(),
                          sum ? db.mutable_data_ptr() : nullptr, context);
  }
  return {dx, db};
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor> bias_act_grad_grad(Tensor ddx, std::optional<Tensor> ddb, Tensor dy, Tensor x,
                                                      std::optional<Tensor> b, int64_t dim, int64_t act,
                                                      double gain, double clamp, bool sum) {
  const char* op = "bias_act_grad_grad";
  const ActParams p = checked_act_params(act, 0, gain, clamp);
  const ChannelArgument bias(op, "b", b, x, dim), extra(op, "ddb", ddb, x, dim);
  check_like(op, "dy", dy, x);
  check_like(op, "ddx", ddx, x);
  x = dense(x);
  dy = with_strides(dy, strides_of(x));
  ddx = with_strides(ddx, strides_of(x));
  Tensor d_dy = empty_strided(x, x.sizes().data(), strides_of(x), x.scalar_type());
  Tensor d_x = empty_strided(x, x.sizes().data(), strides_of(x), x.scalar_type());
  Tensor d_b = channel_sums(x, dim, sum);
  if (x.numel() > 0) {
    const typename Device::Context context(x);
    Device::bias_act_grad_grad(dtype_of(x), p, channels_of(x, dim, sum || bias.given() || extra.given()),
                               ddx.const_data_ptr(), extra.data(), dy.const_data_ptr(), x.const_data_ptr(),
                               bias.data(), d_dy.mutable_data_ptr(), d_x.mutable_data_ptr(),
                               sum ? d_b.mutable_data_ptr() : nullptr, context);
  }
  return {d_dy, d_x, d_b};
}

template <class Device> void register_bias_act(torch::stable::detail::StableLibrary& m) {
  STYLEGAN_IMPL(m, "bias_act", bias_act<Device>);
  STYLEGAN_IMPL(m, "bias_act_mask_grad", bias_act_mask_grad<Device>);
  STYLEGAN_IMPL(m, "bias_act_grad", bias_act_grad<Device>);
  m.impl("bias_act_grad_grad", TORCH_BOX(&bias_act_grad_grad<Device>));
}

}  // namespace stylegan
