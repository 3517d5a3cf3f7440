// SPDX-License-Identifier: Apache-2.0
// The epilogue of an op: its arguments, and what kernels get for them.
#pragma once

#include "lib/epilogue.h"
#include "lib/tensor.h"

namespace stylegan {

// Arguments of an op, in the order of its schema.
struct EpilogueVectors {
  std::optional<Tensor> scale, noise, b;
};
struct SlopesAndClamp {
  double negative, positive, clamp;
};

// [N, C] in the dtype of arithmetic; null stays null.
class SampleChannelArgument {
 public:
  SampleChannelArgument(const char* op, const char* name, const std::optional<Tensor>& t, const Tensor& x) {
    if (!t.has_value()) return;
    STD_TORCH_CHECK(t->dim() == 2 && t->size(0) == x.size(0) && t->size(1) == x.size(1), op, ": ", name,
                    " must be [N, C]");
    STD_TORCH_CHECK(t->device() == x.device(), op, ": all tensors must be on the device of x");
    tensor_ = contiguous_as(*t, arithmetic_type(x));
  }
  const void* data() const { return tensor_.has_value() ? tensor_->const_data_ptr() : nullptr; }

 private:
  std::optional<Tensor> tensor_;
};

// What follows u, [N, C, height, width], as kernels take it.
struct EpilogueTensors {
  EpilogueTensors(const char* op, const Tensor& u, int64_t height, int64_t width, const EpilogueVectors& vectors,
                  const SlopesAndClamp& activation, int64_t planes)
      : scale(op, "scale", vectors.scale, u), b(op, "b", vectors.b, u, 1) {
    const int64_t n = u.size(0);
    STD_TORCH_CHECK(0 <= planes && planes <= 2, op, ": planes must be 0, 1 or 2");
    const bool noise_per_sample = take_noise(op, u, height, width, vectors.noise);
    mask = empty_vector(u, planes * mask_plane_bytes(n * u.size(1) * height * width), ScalarType::Byte);
    epilogue.scale = scale.data();
    epilogue.noise = noise.has_value() ? noise->const_data_ptr() : nullptr;
    epilogue.b = b.data();
    epilogue.noise_per_sample = noise_per_sample;
    epilogue.slopes = {activation.negative, activation.positive};
    epilogue.clamp = clamp_or_infinity(activation.clamp);
    epilogue.mask = planes ? static_cast<uint8_t*>(mask.mutable_data_ptr()) : nullptr;
    epilogue.planes = static_cast<int>(planes);
  }

  SampleChannelArgument scale;
  ChannelArgument b;
  std::optional<Tensor> noise;
  Tensor mask;
  Epilogue epilogue;

 private:
  // Returns whether each sample has noise of its own.
  bool take_noise(const char* op, const Tensor& u, int64_t height, int64_t width, const std::optional<Tensor>& given) {
    if (!given.has_value()) return false;
    const int64_t n = u.size(0);
    STD_TORCH_CHECK(given->dim() == 4 && (given->size(0) == n || given->size(0) == 1) && given->size(1) == 1 &&
                        given->size(2) == height && given->size(3) == width,
                    op, ": noise must be [N, 1, H, W] or [1, 1, H, W]");
    STD_TORCH_CHECK(given->device() == u.device(), op, ": all tensors must be on the device of x");
    noise = contiguous_as(*given, arithmetic_type(u));
    return given->size(0) > 1;
  }
};

}  // namespace stylegan
