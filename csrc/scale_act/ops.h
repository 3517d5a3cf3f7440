// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "scale_act/params.h"
#include "lib/epilogue_tensors.h"

namespace stylegan {

// x contiguous or channels_last.
inline Tensor in_either_layout(const char* op, const Tensor& x) {
  STD_TORCH_CHECK(x.dim() == 4, op, ": x must be [N, C, H, W]");
  return x.is_contiguous() || is_channels_last(x) ? x : torch::stable::contiguous(x);
}

inline Images images_of(const Tensor& x) {
  return {x.size(0), x.size(1), x.size(2) * x.size(3), is_channels_last(x)};
}

template <class Device>
void run_scale_act(const Tensor& x, Tensor& y, const EpilogueArguments& e) {
  if (x.numel() == 0) return;
  const Images images = images_of(x);
  STD_TORCH_CHECK(e.epilogue.planes == 0 || Device::can_mask(images), "scale_act: there is no mask for this shape");
  const typename Device::Context context(x);
  Device::scale_act(dtype_of(x), images, e.epilogue, x.const_data_ptr(), y.mutable_data_ptr(), context);
}

// u = x * scale[n, c] + noise[n, 0, h, w] + b[c], y = clamp(u * (u > 0 ? positive : negative)). planes: of the
// mask, 0 for none.
template <class Device>
std::tuple<Tensor, Tensor> scale_act(Tensor x, std::optional<Tensor> scale, std::optional<Tensor> noise,
                                     std::optional<Tensor> b, double negative, double positive, double clamp,
                                     int64_t planes) {
  const char* op = "scale_act";
  x = in_either_layout(op, x);
  const EpilogueArguments e(op, x, x.size(2), x.size(3), scale, noise, b, negative, positive, clamp, planes);
  Tensor y = empty_strided(x, x.sizes().data(), strides_of(x), x.scalar_type());
  run_scale_act<Device>(x, y, e);
  return {y, e.mask};
}

// The same into y, which may be x.
template <class Device>
void scale_act_out(Tensor x, std::optional<Tensor> scale, std::optional<Tensor> noise, std::optional<Tensor> b,
                   double negative, double positive, double clamp, Tensor y) {
  const char* op = "scale_act_out";
  check_like(op, "y", y, x);
  STD_TORCH_CHECK(x.is_contiguous() || is_channels_last(x), op, ": x must be contiguous or channels_last");
  STD_TORCH_CHECK(has_strides(y, strides_of(x)), op, ": y must have the layout of x");
  const EpilogueArguments e(op, x, x.size(2), x.size(3), scale, noise, b, negative, positive, clamp, 0);
  run_scale_act<Device>(x, y, e);
}

// Gradients: dx, products, sums [N, C] ([0, C] where x or sum say that they are not wanted), and noise [parts,
// N, 1, H, W], to be added (no parts where it is not wanted).
template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor> scale_act_grad(Tensor dy, Tensor mask, std::optional<Tensor> x,
                                                          std::optional<Tensor> scale, Strides strides, double negative,
                                                          double positive, bool has_clamp, bool noise, bool sum) {
  const char* op = "scale_act_grad";
  STD_TORCH_CHECK(dy.dim() == 4 && strides.size() == 4, op, ": dy must be [N, C, H, W]");
  const SampleChannelArgument factor(op, "scale", scale, dy);
  Tensor dx = empty_strided(dy, dy.sizes().data(), strides, dy.scalar_type());
  STD_TORCH_CHECK(dx.is_contiguous() || is_channels_last(dx), op, ": strides must be contiguous or channels_last");
  dy = with_strides(dy, strides);
  if (x.has_value()) {
    check_like(op, "x", *x, dy);
    x = with_strides(*x, strides);
  }
  const Images images = images_of(dx);
  const int64_t plane = mask_plane_bytes(dy.numel()), planes = has_clamp ? 2 : negative == positive ? 0 : 1;
  STD_TORCH_CHECK(mask.numel() == planes * plane, op, ": mask does not fit dy");
  STD_TORCH_CHECK(mask.device() == dy.device(), op, ": mask must be on the device of dy");
  STD_TORCH_CHECK(!noise || Device::can_sum_channels(images), op, ": no sum over channels for this shape");
  const ScalarType type = arithmetic_type(dy);
  const int64_t n = dy.size(0), c = dy.size(1), h = dy.size(2), w = dy.size(3);
  auto matrix = [&](bool wanted) {
    const int64_t sizes[] = {wanted ? n : 0, c};
    Tensor t = empty_strided(dy, sizes, {c, 1}, type);
    if (dy.numel() == 0) torch::stable::zero_(t);
    return t;
  };
  Tensor products = matrix(x.has_value()), sums = matrix(sum);
  const int64_t sizes[] = {noise ? Device::noise_parts(images) : 0, n, 1, h, w};
  Tensor total = empty_strided(dy, sizes, {n * h * w, h * w, h * w, w, 1}, type);
  if (dy.numel() == 0) torch::stable::zero_(total);
  if (dy.numel() > 0) {
    STD_TORCH_CHECK(mask.numel() == 0 || Device::can_mask(images), op, ": there is no mask for this shape");
    const ScaleActGrad a{{negative, positive}, has_clamp,
                         mask.numel() ? static_cast<const uint8_t*>(mask.const_data_ptr()) : nullptr,
                         x.has_value() ? x->const_data_ptr() : nullptr, factor.data(),
                         x.has_value() ? products.mutable_data_ptr() : nullptr,
                         noise ? total.mutable_data_ptr() : nullptr, sum ? sums.mutable_data_ptr() : nullptr};
    const typename Device::Context context(dy);
    Device::scale_act_grad(dtype_of(dy), images, a, dy.const_data_ptr(), dx.mutable_data_ptr(), context);
  }
  return {dx, products, sums, total};
}

template <class Device> void register_scale_act(torch::stable::detail::StableLibrary& m) {
  STYLEGAN_IMPL(m, "scale_act", scale_act<Device>);
  STYLEGAN_IMPL(m, "scale_act_grad", scale_act_grad<Device>);
  m.impl("scale_act_out", TORCH_BOX(&scale_act_out<Device>));
}

}  // namespace stylegan
