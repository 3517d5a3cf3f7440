// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "lib/fir.h"
#include "lib/tensor.h"

namespace stylegan {

// [N, C, H, W] in which the channels of a pixel are neighbours and which is not contiguous as well.
inline bool is_channels_last(const Tensor& x) {
  int64_t expected = 1;
  for (const int dim : {1, 3, 2, 0}) {
    if (x.size(dim) != 1 && x.stride(dim) != expected) return false;
    expected *= x.size(dim);
  }
  return !x.is_contiguous();
}

// t contiguous in `type`.
inline Tensor contiguous_as(const Tensor& t, ScalarType type) {
  const Tensor same = t.scalar_type() == type ? t : torch::stable::to(t, type);
  return same.is_contiguous() ? same : torch::stable::contiguous(same);
}

// [N, C] in the dtype of arithmetic; null stays null.
class SampleChannelArgument {
 public:
  SampleChannelArgument(const char* op, const char* name, const std::optional<Tensor>& t, const Tensor& x) {
    if (!t.has_value()) return;
    STD_TORCH_CHECK(t->dim() == 2 && t->size(0) == x.size(0) && t->size(1) == x.size(1), op, ": ", name, " must be [N, C]");
    STD_TORCH_CHECK(t->device() == x.device(), op, ": all tensors must be on the device of x");
    tensor_ = contiguous_as(*t, arithmetic_type(x));
  }
  const void* data() const { return tensor_.has_value() ? tensor_->const_data_ptr() : nullptr; }

 private:
  std::optional<Tensor> tensor_;
};

// What follows u, [N, C, height, width], as kernels take it.
struct EpilogueArguments {
  EpilogueArguments(const char* op, const Tensor& u, int64_t height, int64_t width, const std::optional<Tensor>& scale,
                    const std::optional<Tensor>& noise, const std::optional<Tensor>& b, double negative, double positive,
                    double clamp, int64_t planes)
      : scale(op, "scale", scale, u), b(op, "b", b, u, 1) {
    const int64_t n = u.size(0);
    STD_TORCH_CHECK(0 <= planes && planes <= 2, op, ": planes must be 0, 1 or 2");
    bool per_sample = false;
    if (noise.has_value()) {
      STD_TORCH_CHECK(noise->dim() == 4 && (noise->size(0) == n || noise->size(0) == 1) && noise->size(1) == 1 &&
                          noise->size(2) == height && noise->size(3) == width,
                      op, ": noise must be [N, 1, H, W] or [1, 1, H, W]");
      STD_TORCH_CHECK(noise->device() == u.device(), op, ": all tensors must be on the device of x");
      this->noise = contiguous_as(*noise, arithmetic_type(u));
      per_sample = noise->size(0) > 1;
    }
    if (clamp < 0) clamp = std::numeric_limits<double>::infinity();
    mask = empty_vector(u, planes * mask_plane_bytes(n * u.size(1) * height * width), ScalarType::Byte);
    epilogue = {this->scale.data(), this->noise.has_value() ? this->noise->const_data_ptr() : nullptr, this->b.data(),
                per_sample, {negative, positive}, clamp,
                planes ? static_cast<uint8_t*>(mask.mutable_data_ptr()) : nullptr, static_cast<int>(planes)};
  }

  SampleChannelArgument scale;
  ChannelArgument b;
  std::optional<Tensor> noise;
  Tensor mask;
  FirEpilogue epilogue;
};

}  // namespace stylegan
