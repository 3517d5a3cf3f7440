// SPDX-License-Identifier: Apache-2.0
// The ops of 3x3 convolutions by minimal filtering: arguments checked, outputs allocated, kernels called.
#pragma once

#include "lib/epilogue_tensors.h"
#include "lib/op.h"
#include "winograd/cpu/winograd.h"

namespace stylegan::winograd {

inline Form checked_form(int64_t form) {
  STD_TORCH_CHECK(0 <= form && form <= 3, "winograd: form must be 0 to 3");
  return static_cast<Form>(form);
}

inline cpu::Isa isa_of(int64_t isa) { return static_cast<cpu::Isa>(std::min<int64_t>(std::max<int64_t>(isa, 0), 2)); }

inline Tensor float_vector(const Tensor& like, int64_t size) { return empty_vector(like, size, ScalarType::Float); }

inline Tensor as_channels_last(const Tensor& x) {
  return with_strides(x, image_strides(true, x.size(1), x.size(2), x.size(3)));
}

struct WeightsCall {
  Tensor w;
  int64_t form;
  bool flip;
  int64_t isa;
};

// w [O, I, 3, 3], any strides -> u. flip: as if w.flip([2, 3]).
template <class Device> Tensor transform_weights(WeightsCall call) {
  const char* op = "winograd_weights";
  const Tensor& w = call.w;
  STD_TORCH_CHECK(w.dim() == 4 && w.size(2) == 3 && w.size(3) == 3, op, ": w must be [O, I, 3, 3]");
  STD_TORCH_CHECK(w.scalar_type() == ScalarType::Float, op, ": expected float32");
  const int64_t sign = call.flip ? -1 : 1;
  const Filters filters{checked_form(call.form), w.size(0),         w.size(1), w.stride(0), w.stride(1),
                        sign * w.stride(2),      sign * w.stride(3)};
  Tensor u = float_vector(w, cpu::weights_size(filters));
  if (u.numel() == 0) return u;
  const float* first = floats(w) + (call.flip ? 2 * (w.stride(2) + w.stride(3)) : 0);
  cpu::transform_weights(filters, isa_of(call.isa), first, mutable_floats(u), typename Device::Context(w));
  return u;
}

// The convolution of x, with the size of y. Checks what the forms require.
inline Convolution convolution_of(const char* op, const Tensor& x, int64_t out_channels, int64_t form,
                                  const std::vector<int64_t>& padding) {
  STD_TORCH_CHECK(x.dim() == 4 && padding.size() == 2 && padding[0] >= 0 && padding[1] >= 0 && out_channels >= 0, op,
                  ": x must be [N, C, H, W], padding (y, x)");
  STD_TORCH_CHECK(x.scalar_type() == ScalarType::Float, op, ": expected float32");
  const int64_t h = x.size(2), w = x.size(3), pad_y = padding[0], pad_x = padding[1];
  Convolution g{checked_form(form), x.size(0), x.size(1), out_channels, h, w, 0, 0, pad_y, pad_x};
  if (g.form == Form::up) {
    STD_TORCH_CHECK(pad_y == 0 && pad_x == 0, op, ": up takes no padding");
    g.out_h = 2 * h + 1, g.out_w = 2 * w + 1;
    return g;
  }
  const int64_t stride = g.form == Form::down ? 2 : 1;
  STD_TORCH_CHECK(h + 2 * pad_y >= 3 && w + 2 * pad_x >= 3, op, ": x is smaller than the kernel");
  g.out_h = (h + 2 * pad_y - 3) / stride + 1, g.out_w = (w + 2 * pad_x - 3) / stride + 1;
  return g;
}

struct Call {
  Tensor x, u;
  int64_t out_channels;
  std::optional<Tensor> styles;
  EpilogueVectors vectors;
  int64_t form;
  std::vector<int64_t> padding;  // y, x
  SlopesAndClamp activation;
  int64_t isa;
};

// x channels_last -> y, with u from transform_weights, styles [N, I], the rest as in scale_act.
template <class Device> Tensor convolve(Call call) {
  const char* op = "winograd";
  const Convolution g = convolution_of(op, call.x, call.out_channels, call.form, call.padding);
  STD_TORCH_CHECK(call.u.scalar_type() == ScalarType::Float && call.u.is_contiguous() &&
                      call.u.numel() == cpu::weights_size({g.form, g.out_channels, g.in_channels, 0, 0, 0, 0}),
                  op, ": u does not belong to this convolution");
  const int64_t sizes[] = {g.samples, g.out_channels, g.out_h, g.out_w};
  Tensor y = empty_strided(call.x, sizes, image_strides(true, g.out_channels, g.out_h, g.out_w), call.x.scalar_type());
  const EpilogueTensors e(op, y, g.out_h, g.out_w, call.vectors, call.activation, 0);
  const SampleChannelArgument styles(op, "styles", call.styles, call.x);
  if (y.numel() == 0) return y;
  STD_TORCH_CHECK(call.x.numel() > 0, op, ": x is empty");
  const Tensor x = as_channels_last(call.x);
  const int64_t threads = torch::stable::get_num_threads();
  Tensor workspace = float_vector(x, cpu::workspace_size(g, threads));
  cpu::convolve(g, isa_of(call.isa), e.epilogue, floats(x), static_cast<const float*>(styles.data()), floats(call.u),
                mutable_floats(y), mutable_floats(workspace), threads, typename Device::Context(x));
  return y;
}

struct GradCall {
  Tensor x, dy;
  int64_t form;
  std::vector<int64_t> padding;  // y, x
  int64_t isa;
};

// The gradient [O, I, 3, 3] w.r.t. the weight of a convolution of x that gave dy.
template <class Device> Tensor weight_grad(GradCall call) {
  const char* op = "winograd_grad";
  STD_TORCH_CHECK(call.dy.dim() == 4 && call.dy.scalar_type() == ScalarType::Float, op,
                  ": dy must be [N, C, H, W], float32");
  const Convolution g = convolution_of(op, call.x, call.dy.size(1), call.form, call.padding);
  STD_TORCH_CHECK(g.form != Form::up, op, ": take `down` with x and dy exchanged");
  STD_TORCH_CHECK(call.dy.size(0) == g.samples && call.dy.size(2) == g.out_h && call.dy.size(3) == g.out_w, op,
                  ": dy does not belong to x");
  const int64_t o = g.out_channels, i = g.in_channels, sizes[] = {o, i, 3, 3};
  Tensor dw = empty_strided(call.x, sizes, image_strides(false, i, 3, 3), call.x.scalar_type());
  if (call.x.numel() == 0 || call.dy.numel() == 0) {
    torch::stable::zero_(dw);
    return dw;
  }
  const Tensor x = as_channels_last(call.x), dy = as_channels_last(call.dy);
  Tensor workspace = float_vector(x, cpu::grad_workspace_size(g));
  cpu::weight_grad(g, isa_of(call.isa), floats(x), floats(dy), mutable_floats(dw), mutable_floats(workspace),
                   typename Device::Context(x));
  return dw;
}

template <class Device> void implement_ops(Library& m) {
  implement<&transform_weights<Device>>(m, "winograd_weights");
  implement<&convolve<Device>>(m, "winograd");
  implement<&weight_grad<Device>>(m, "winograd_grad");
}

}  // namespace stylegan::winograd
