// SPDX-License-Identifier: Apache-2.0
// The ops of scale_act: arguments checked, outputs allocated, kernels called.
#pragma once

#include "lib/epilogue_tensors.h"
#include "lib/op.h"
#include "scale_act/params.h"

namespace stylegan::scale_act {

inline Images images_of(const Tensor& x) { return {x.size(0), x.size(1), x.size(2) * x.size(3), is_channels_last(x)}; }

template <class Device> void run(const Tensor& x, Tensor& y, const EpilogueTensors& e) {
  if (x.numel() == 0) return;
  const Images images = images_of(x);
  STD_TORCH_CHECK(e.epilogue.planes == 0 || Device::can_mask(images), "scale_act: there is no mask for this shape");
  const typename Device::Context context(x);
  Device::scale_act(dtype_of(x), images, e.epilogue, x.const_data_ptr(), y.mutable_data_ptr(), context);
}

struct Call {
  Tensor x;
  EpilogueVectors vectors;
  SlopesAndClamp activation;
  int64_t planes;
};

// u = x * scale[n, c] + noise[n, 0, h, w] + b[c], y = clamp(u * (u > 0 ? positive : negative)).
// Returns y and a mask of `planes` planes.
template <class Device> std::tuple<Tensor, Tensor> forward(Call call) {
  const char* op = "scale_act";
  STD_TORCH_CHECK(call.x.dim() == 4, op, ": x must be [N, C, H, W]");
  const Tensor x = in_either_layout(call.x);
  const EpilogueTensors e(op, x, x.size(2), x.size(3), call.vectors, call.activation, call.planes);
  Tensor y = empty_strided(x, x.sizes().data(), strides_of(x), x.scalar_type());
  run<Device>(x, y, e);
  return {y, e.mask};
}

struct OutCall {
  Tensor x;
  EpilogueVectors vectors;
  SlopesAndClamp activation;
  Tensor y;
};

// The same into y, which may be x.
template <class Device> void forward_out(OutCall call) {
  const char* op = "scale_act_out";
  const Tensor& x = call.x;
  check_like(op, "y", call.y, x);
  STD_TORCH_CHECK(x.is_contiguous() || is_channels_last(x), op, ": x must be contiguous or channels_last");
  STD_TORCH_CHECK(has_strides(call.y, strides_of(x)), op, ": y must have the layout of x");
  const EpilogueTensors e(op, x, x.size(2), x.size(3), call.vectors, call.activation, 0);
  run<Device>(x, call.y, e);
}

struct GradCall {
  Tensor dy, mask;
  std::optional<Tensor> x, scale;
  Strides strides;
  double negative, positive;
  bool has_clamp, noise, sum;
};

// Zeros if x has no elements, else not initialized.
inline Tensor sums_like(const Tensor& x, const std::vector<int64_t>& sizes, const Strides& strides) {
  Tensor t = empty_strided(x, sizes.data(), strides, arithmetic_type(x));
  if (x.numel() == 0) torch::stable::zero_(t);
  return t;
}

// Returns dx; products and sums, [N, C], or [0, C] without x or `sum`; and the gradient w.r.t. the noise, [parts, N, 1,
// H, W], whose parts are to be added (none without `noise`).
template <class Device> std::tuple<Tensor, Tensor, Tensor, Tensor> grad(GradCall call) {
  const char* op = "scale_act_grad";
  STD_TORCH_CHECK(call.dy.dim() == 4 && call.strides.size() == 4, op, ": dy must be [N, C, H, W]");
  const SampleChannelArgument scale(op, "scale", call.scale, call.dy);
  Tensor dx = empty_strided(call.dy, call.dy.sizes().data(), call.strides, call.dy.scalar_type());
  STD_TORCH_CHECK(dx.is_contiguous() || is_channels_last(dx), op, ": strides must be contiguous or channels_last");
  const Tensor dy = with_strides(call.dy, call.strides);
  std::optional<Tensor> x;
  if (call.x.has_value()) {
    check_like(op, "x", *call.x, dy);
    x = with_strides(*call.x, call.strides);
  }
  const Images images = images_of(dx);
  const int64_t planes = call.has_clamp ? 2 : call.negative == call.positive ? 0 : 1;
  STD_TORCH_CHECK(call.mask.numel() == planes * mask_plane_bytes(dy.numel()), op, ": mask does not fit dy");
  STD_TORCH_CHECK(call.mask.device() == dy.device(), op, ": mask must be on the device of dy");
  STD_TORCH_CHECK(!call.noise || Device::can_sum_channels(images), op, ": no sum over channels for this shape");
  const int64_t n = dy.size(0), c = dy.size(1), h = dy.size(2), w = dy.size(3);
  const int64_t parts = call.noise ? Device::noise_parts(images) : 0;
  Tensor products = sums_like(dy, {x.has_value() ? n : 0, c}, {c, 1});
  Tensor sums = sums_like(dy, {call.sum ? n : 0, c}, {c, 1});
  Tensor noise = sums_like(dy, {parts, n, 1, h, w}, {n * h * w, h * w, h * w, w, 1});
  if (dy.numel() > 0) {
    STD_TORCH_CHECK(call.mask.numel() == 0 || Device::can_mask(images), op, ": there is no mask for this shape");
    GradParams p;
    p.slopes = {call.negative, call.positive};
    p.has_clamp = call.has_clamp;
    p.mask = call.mask.numel() ? static_cast<const uint8_t*>(call.mask.const_data_ptr()) : nullptr;
    p.x = x.has_value() ? x->const_data_ptr() : nullptr;
    p.scale = scale.data();
    p.products = x.has_value() ? products.mutable_data_ptr() : nullptr;
    p.noise = call.noise ? noise.mutable_data_ptr() : nullptr;
    p.sums = call.sum ? sums.mutable_data_ptr() : nullptr;
    const typename Device::Context context(dy);
    Device::scale_act_grad(dtype_of(dy), images, p, dy.const_data_ptr(), dx.mutable_data_ptr(), context);
  }
  return {dx, products, sums, noise};
}

template <class Device> void implement_ops(Library& m) {
  implement_with_raw<&forward<Device>>(m, "scale_act");
  implement_with_raw<&grad<Device>>(m, "scale_act_grad");
  implement<&forward_out<Device>>(m, "scale_act_out");
}

}  // namespace stylegan::scale_act
