// SPDX-License-Identifier: Apache-2.0
// Where tensors meet kernels: arguments are checked, outputs allocated, and layouts made equal, once
// for every device. Device gives the kernels; see register_cpu.cpp and register_cuda.cpp.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "common/bias_act.h"

namespace stylegan {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Strides = std::vector<int64_t>;

inline Dtype dtype_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Half: return Dtype::float16;
    case ScalarType::BFloat16: return Dtype::bfloat16;
    case ScalarType::Float: return Dtype::float32;
    case ScalarType::Double: return Dtype::float64;
    default: STD_TORCH_CHECK(false, "expected float16, bfloat16, float32 or float64");
  }
}

// Vectors with one value per channel are in the dtype of arithmetic.
inline ScalarType arithmetic_type(const Tensor& x) {
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline Strides strides_of(const Tensor& x) {
  const auto s = x.strides();
  return Strides(s.begin(), s.end());
}

inline Tensor empty_strided(const Tensor& like, const int64_t* sizes, const Strides& strides, ScalarType type) {
  const torch::stable::Device device = like.device();
  AtenTensorHandle handle;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      static_cast<int64_t>(strides.size()), sizes, strides.data(),
      static_cast<int32_t>(torch::stable::detail::to<int32_t>(torch::stable::detail::from(type))),
      static_cast<int32_t>(device.type()), device.index(), &handle));
  return Tensor(handle);
}

inline Tensor empty_vector(const Tensor& like, int64_t size, ScalarType type) {
  return empty_strided(like, &size, {1}, type);
}

// Every element of memory between the first and the last belongs to the tensor, once.
inline bool is_dense(const Tensor& x) {
  if (x.is_contiguous()) return true;
  std::vector<std::pair<int64_t, int64_t>> order;  // (stride, size)
  for (int64_t i = 0; i < x.dim(); ++i)
    if (x.size(i) != 1) order.emplace_back(x.stride(i), x.size(i));
  std::sort(order.begin(), order.end());
  int64_t expected = 1;
  for (const auto& [stride, size] : order) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

// x itself if dense, else a dense copy with the strides that torch.empty_like(x) has.
inline Tensor dense(const Tensor& x) {
  return is_dense(x) ? x : torch::stable::clone(x);
}

inline bool has_strides(const Tensor& x, const Strides& strides) {
  for (int64_t i = 0; i < x.dim(); ++i)
    if (x.size(i) != 1 && x.stride(i) != strides[i]) return false;
  return true;
}

// x with the given dense strides: itself or a copy.
inline Tensor with_strides(const Tensor& x, const Strides& strides) {
  if (x.numel() == 0 || has_strides(x, strides)) return x;
  Tensor copy = empty_strided(x, x.sizes().data(), strides, x.scalar_type());
  torch::stable::copy_(copy, x);
  return copy;
}

inline Channels channels_of(const Tensor& x, int64_t dim, bool used) {
  const int64_t size = x.numel();
  if (!used || x.dim() == 0 || size == 0) return {size, 1, std::max<int64_t>(size, 1)};
  const int64_t d = dim < 0 ? dim + x.dim() : dim;
  return x.size(d) == 1 ? Channels{size, 1, size} : Channels{size, x.size(d), x.stride(d)};
}

// A per-channel vector, contiguous in the dtype of arithmetic; null stays null.
class ChannelArgument {
 public:
  ChannelArgument(const char* op, const char* name, const std::optional<Tensor>& v, const Tensor& x, int64_t dim) {
    if (!v.has_value()) return;
    STD_TORCH_CHECK(-x.dim() <= dim && dim < x.dim(), op, ": dim ", dim, " is out of range");
    STD_TORCH_CHECK(v->dim() == 1 && v->numel() == x.size(dim < 0 ? dim + x.dim() : dim), op, ": ", name,
                    " does not fit dim ", dim, " of x");
    STD_TORCH_CHECK(v->device() == x.device(), op, ": ", name, " must be on the device of x");
    tensor_ = v->scalar_type() == arithmetic_type(x) ? *v : torch::stable::to(*v, arithmetic_type(x));
    if (!tensor_->is_contiguous()) tensor_ = torch::stable::contiguous(*tensor_);
  }
  const void* data() const { return tensor_.has_value() ? tensor_->const_data_ptr() : nullptr; }
  bool given() const { return tensor_.has_value(); }

 private:
  std::optional<Tensor> tensor_;
};

inline void check_like(const char* op, const char* name, const Tensor& t, const Tensor& x) {
  bool same = t.dim() == x.dim() && t.scalar_type() == x.scalar_type() && t.device() == x.device();
  for (int64_t i = 0; same && i < x.dim(); ++i) same = t.size(i) == x.size(i);
  STD_TORCH_CHECK(same, op, ": ", name, " must have the shape, dtype and device of the tensor beside it");
}

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

// Each op twice: as the public one, over which Python puts autograd, and as `raw`, which the eager
// path calls from inside its own autograd.Function without a detour.
template <class Device> void register_ops(torch::stable::detail::StableLibrary& m) {
  m.impl("bias_act", TORCH_BOX(&bias_act<Device>));
  m.impl("bias_act.raw", TORCH_BOX(&bias_act<Device>));
  m.impl("bias_act_mask_grad", TORCH_BOX(&bias_act_mask_grad<Device>));
  m.impl("bias_act_mask_grad.raw", TORCH_BOX(&bias_act_mask_grad<Device>));
  m.impl("bias_act_grad", TORCH_BOX(&bias_act_grad<Device>));
  m.impl("bias_act_grad.raw", TORCH_BOX(&bias_act_grad<Device>));
  m.impl("bias_act_grad_grad", TORCH_BOX(&bias_act_grad_grad<Device>));
}

}  // namespace stylegan
