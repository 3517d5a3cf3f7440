// SPDX-License-Identifier: Apache-2.0
// Where tensors meet kernels: what the <op>/ops.h share. Each of those checks arguments, allocates outputs and makes
// layouts equal, once for every device. Its template parameter Device provides the kernels; see cpu_library.cpp and
// cuda_library.cpp.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "lib/dtype.h"

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
inline Tensor dense(const Tensor& x) { return is_dense(x) ? x : torch::stable::clone(x); }

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

// [N, C, H, W] in which the channels of a pixel are neighbours and which is not contiguous as well.
inline bool is_channels_last(const Tensor& x) {
  int64_t expected = 1;
  for (const int dim : {1, 3, 2, 0}) {
    if (x.size(dim) != 1 && x.stride(dim) != expected) return false;
    expected *= x.size(dim);
  }
  return !x.is_contiguous();
}

// The strides of images [N, c, h, w] in either layout.
inline Strides image_strides(bool channels_last, int64_t c, int64_t h, int64_t w) {
  return channels_last ? Strides{h * w * c, 1, w * c, c} : Strides{c * h * w, h * w, w, 1};
}

// t contiguous in `type`.
inline Tensor contiguous_as(const Tensor& t, ScalarType type) {
  const Tensor same = t.scalar_type() == type ? t : torch::stable::to(t, type);
  return same.is_contiguous() ? same : torch::stable::contiguous(same);
}

// x, or a contiguous copy unless it is contiguous or channels_last.
inline Tensor in_either_layout(const Tensor& x) {
  return x.is_contiguous() || is_channels_last(x) ? x : torch::stable::contiguous(x);
}

inline const float* floats(const Tensor& t) { return static_cast<const float*>(t.const_data_ptr()); }
inline float* mutable_floats(Tensor& t) { return static_cast<float*>(t.mutable_data_ptr()); }

// A per-channel vector, contiguous in the dtype of arithmetic; null stays null.
class ChannelArgument {
 public:
  ChannelArgument(const char* op, const char* name, const std::optional<Tensor>& v, const Tensor& x, int64_t dim) {
    if (!v.has_value()) return;
    STD_TORCH_CHECK(-x.dim() <= dim && dim < x.dim(), op, ": dim ", dim, " is out of range");
    STD_TORCH_CHECK(v->dim() == 1 && v->numel() == x.size(dim < 0 ? dim + x.dim() : dim), op, ": ", name,
                    " does not fit dim ", dim, " of x");
    STD_TORCH_CHECK(v->device() == x.device(), op, ": ", name, " must be on the device of x");
    tensor_ = contiguous_as(*v, arithmetic_type(x));
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

}  // namespace stylegan
