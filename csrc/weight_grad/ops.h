// SPDX-License-Identifier: Apache-2.0
// The op weight_grad: arguments checked, output allocated, kernel called.
#pragma once

#include "lib/op.h"
#include "lib/tensor.h"
#include "weight_grad/cpu/weight_grad.h"

namespace stylegan::weight_grad {

struct Call {
  Tensor x, dy;
  std::vector<int64_t> kernel;  // height, width
  int64_t stride;
  std::vector<int64_t> padding;  // y, x
};

inline void check_call(const char* op, const Call& call) {
  const Tensor &x = call.x, &dy = call.dy;
  STD_TORCH_CHECK(
      x.dim() == 4 && dy.dim() == 4 && call.kernel.size() == 2 && call.padding.size() == 2 && call.stride >= 1, op,
      ": x and dy must be [N, C, H, W], kernel and padding (y, x)");
  STD_TORCH_CHECK(x.scalar_type() == ScalarType::Float && dy.scalar_type() == x.scalar_type(), op,
                  ": expected float32");
  auto fits = [](const Tensor& t) {
    return is_channels_last(t) || t.numel() == 0 || t.size(1) == 1 || t.size(2) * t.size(3) == 1;
  };
  STD_TORCH_CHECK(fits(x) && fits(dy), op, ": x and dy must be channels_last");
  STD_TORCH_CHECK(x.size(1) % kInUnit == 0 && dy.size(1) % kOutUnit == 0, op, ": channels must be multiples of ",
                  kInUnit, " and ", kOutUnit);
  for (int i = 0; i < 2; ++i) {
    const int64_t pad = call.padding[i], reach = (dy.size(2 + i) - 1) * call.stride + call.kernel[i];
    STD_TORCH_CHECK(reach <= x.size(2 + i) + 2 * pad && pad >= 0, op, ": the shapes do not belong to a convolution");
  }
  STD_TORCH_CHECK(x.size(0) == dy.size(0), op, ": x and dy must have as many samples");
}

// The gradient [O, I, kh, kw] of a convolution of x w.r.t. its weight; float32, x and dy channels_last.
template <class Device> Tensor forward(Call call) {
  check_call("weight_grad", call);
  const Tensor &x = call.x, &dy = call.dy;
  const int64_t o = dy.size(1), i = x.size(1), kh = call.kernel[0], kw = call.kernel[1], sizes[] = {o, i, kh, kw};
  Tensor dw = empty_strided(x, sizes, image_strides(false, i, kh, kw), x.scalar_type());
  if (x.numel() == 0 || dy.numel() == 0) torch::stable::zero_(dw);
  if (x.numel() == 0 || dy.numel() == 0 || dw.numel() == 0) return dw;
  const Params p{x.size(0),  i,  o,  x.size(2),   x.size(3),       dy.size(2),
                 dy.size(3), kh, kw, call.stride, call.padding[0], call.padding[1]};
  cpu::run(p, floats(x), floats(dy), mutable_floats(dw), typename Device::Context(x));
  return dw;
}

template <class Device> void implement_ops(Library& m) { implement<&forward<Device>>(m, "weight_grad"); }

}  // namespace stylegan::weight_grad
