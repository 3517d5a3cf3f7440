// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "winograd/cpu/winograd.h"
#include "lib/epilogue_tensors.h"

namespace stylegan {

inline cpu::WinogradForm winograd_form(int64_t form) {
  STD_TORCH_CHECK(0 <= form && form <= 3, "winograd: form must be 0 to 3");
  return static_cast<cpu::WinogradForm>(form);
}

inline cpu::Isa winograd_isa(int64_t isa) { return static_cast<cpu::Isa>(std::min<int64_t>(std::max<int64_t>(isa, 0), 2)); }

inline Tensor float_vector(const Tensor& like, int64_t size) { return empty_vector(like, size, ScalarType::Float); }

// w [O, I, 3, 3], any strides -> u. flip: as if w.flip([2, 3]).
template <class Device> Tensor winograd_weights(Tensor w, int64_t form, bool flip, int64_t isa) {
  const char* op = "winograd_weights";
  STD_TORCH_CHECK(w.dim() == 4 && w.size(2) == 3 && w.size(3) == 3, op, ": w must be [O, I, 3, 3]");
  STD_TORCH_CHECK(w.scalar_type() == ScalarType::Float, op, ": expected float32");
  const int64_t sign = flip ? -1 : 1;
  const cpu::WinogradFilters filters{winograd_form(form), w.size(0), w.size(1), w.stride(0), w.stride(1), sign * w.stride(2), sign * w.stride(3)};
  Tensor u = float_vector(w, cpu::winograd_weights_size(filters));
  if (u.numel() == 0) return u;
  const float* first = static_cast<const float*>(w.const_data_ptr()) + (flip ? 2 * (w.stride(2) + w.stride(3)) : 0);
  cpu::winograd_weights(filters, winograd_isa(isa), first, static_cast<float*>(u.mutable_data_ptr()), typename Device::Context(w));
  return u;
}

// The convolution of x, with the size of y; checks what the forms ask for.
inline cpu::Winograd winograd_of(const char* op, const Tensor& x, int64_t out_channels, int64_t form, const std::vector<int64_t>& padding) {
  using cpu::WinogradForm;
  STD_TORCH_CHECK(x.dim() == 4 && padding.size() == 2 && padding[0] >= 0 && padding[1] >= 0 && out_channels >= 0, op,
                  ": x must be [N, C, H, W], padding (y, x)");
  STD_TORCH_CHECK(x.scalar_type() == ScalarType::Float, op, ": expected float32");
  const int64_t h = x.size(2), w = x.size(3), pad_y = padding[0], pad_x = padding[1];
  cpu::Winograd g{winograd_form(form), x.size(0), x.size(1), out_channels, h, w, 0, 0, pad_y, pad_x};
  if (g.form == WinogradForm::up) {
    STD_TORCH_CHECK(pad_y == 0 && pad_x == 0, op, ": up takes no padding");
    g.out_h = 2 * h + 1, g.out_w = 2 * w + 1;
    return g;
  }
  const int64_t stride = g.form == WinogradForm::down ? 2 : 1;
  STD_TORCH_CHECK(h + 2 * pad_y >= 3 && w + 2 * pad_x >= 3, op, ": x is smaller than the kernel");
  g.out_h = (h + 2 * pad_y - 3) / stride + 1, g.out_w = (w + 2 * pad_x - 3) / stride + 1;
  return g;
}

inline Strides channels_last(int64_t c, int64_t h, int64_t w) { return {h * w * c, 1, w * c, c}; }

inline Tensor as_channels_last(const Tensor& x) { return with_strides(x, channels_last(x.size(1), x.size(2), x.size(3))); }

inline const float* floats(const Tensor& t) { return static_cast<const float*>(t.const_data_ptr()); }
inline float* mutable_floats(Tensor& t) { return static_cast<float*>(t.mutable_data_ptr()); }

// x channels_last -> y, of u by winograd_weights; styles [N, I], the rest as scale_act.
template <class Device>
Tensor winograd(Tensor x, Tensor u, int64_t out_channels, std::optional<Tensor> styles, std::optional<Tensor> scale,
                std::optional<Tensor> noise, std::optional<Tensor> b, int64_t form, std::vector<int64_t> padding,
                double negative, double positive, double clamp, int64_t isa) {
  const char* op = "winograd";
  const cpu::Winograd g = winograd_of(op, x, out_channels, form, padding);
  STD_TORCH_CHECK(u.scalar_type() == ScalarType::Float && u.is_contiguous() &&
                      u.numel() == cpu::winograd_weights_size({g.form, out_channels, g.in_channels, 0, 0, 0, 0}),
                  op, ": u does not belong to this convolution");
  const int64_t sizes[] = {g.samples, out_channels, g.out_h, g.out_w};
  Tensor y = empty_strided(x, sizes, channels_last(out_channels, g.out_h, g.out_w), x.scalar_type());
  const EpilogueArguments e(op, y, g.out_h, g.out_w, scale, noise, b, negative, positive, clamp, 0);
  const SampleChannelArgument factor(op, "styles", styles, x);
  if (y.numel() == 0) return y;
  STD_TORCH_CHECK(x.numel() > 0, op, ": x is empty");
  x = as_channels_last(x);
  const int64_t threads = torch::stable::get_num_threads();
  Tensor workspace = float_vector(x, cpu::winograd_workspace(g, threads));
  cpu::winograd(g, winograd_isa(isa), e.epilogue, floats(x), static_cast<const float*>(factor.data()), floats(u),
                mutable_floats(y), mutable_floats(workspace), threads, typename Device::Context(x));
  return y;
}

// The gradient [O, I, 3, 3] of a convolution of x that gave dy, by its weight.
template <class Device>
Tensor winograd_grad(Tensor x, Tensor dy, int64_t form, std::vector<int64_t> padding, int64_t isa) {
  const char* op = "winograd_grad";
  STD_TORCH_CHECK(dy.dim() == 4 && dy.scalar_type() == ScalarType::Float, op, ": dy must be [N, C, H, W], float32");
  const cpu::Winograd g = winograd_of(op, x, dy.size(1), form, padding);
  STD_TORCH_CHECK(g.form != cpu::WinogradForm::up, op, ": take `down` with x and dy exchanged");
  STD_TORCH_CHECK(dy.size(0) == g.samples && dy.size(2) == g.out_h && dy.size(3) == g.out_w, op, ": dy does not belong to x");
  const int64_t o = g.out_channels, i = g.in_channels, sizes[] = {o, i, 3, 3};
  Tensor dw = empty_strided(x, sizes, {i * 9, 9, 3, 1}, x.scalar_type());
  if (x.numel() == 0 || dy.numel() == 0) torch::stable::zero_(dw);
  if (x.numel() == 0 || dy.numel() == 0) return dw;
  x = as_channels_last(x), dy = as_channels_last(dy);
  Tensor workspace = float_vector(x, cpu::winograd_grad_workspace(g));
  cpu::winograd_grad(g, winograd_isa(isa), floats(x), floats(dy), mutable_floats(dw), mutable_floats(workspace), typename Device::Context(x));
  return dw;
}

template <class Device> void register_winograd(torch::stable::detail::StableLibrary& m) {
  m.impl("winograd_weights", TORCH_BOX(&winograd_weights<Device>));
  m.impl("winograd", TORCH_BOX(&winograd<Device>));
  m.impl("winograd_grad", TORCH_BOX(&winograd_grad<Device>));
}

}  // namespace stylegan
