// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/winograd.h"
#include "register_epilogue.h"

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

// x channels_last -> y, of u by winograd_weights; styles [N, I], the rest as scale_act.
template <class Device>
Tensor winograd(Tensor x, Tensor u, int64_t out_channels, std::optional<Tensor> styles, std::optional<Tensor> scale,
                std::optional<Tensor> noise, std::optional<Tensor> b, int64_t form, std::vector<int64_t> padding,
                double negative, double positive, double clamp, int64_t isa) {
  using cpu::WinogradForm;
  const char* op = "winograd";
  STD_TORCH_CHECK(x.dim() == 4 && padding.size() == 2 && padding[0] >= 0 && padding[1] >= 0 && out_channels >= 0, op,
                  ": x must be [N, C, H, W], padding (y, x)");
  STD_TORCH_CHECK(x.scalar_type() == ScalarType::Float && u.scalar_type() == ScalarType::Float, op, ": expected float32");
  STD_TORCH_CHECK(x.size(1) % cpu::kWinogradChannels == 0 && out_channels % cpu::kWinogradChannels == 0, op,
                  ": channels must be multiples of ", cpu::kWinogradChannels);
  const int64_t n = x.size(0), c = x.size(1), h = x.size(2), w = x.size(3);
  x = with_strides(x, {h * w * c, 1, w * c, c});
  cpu::Winograd g{winograd_form(form), n, c, out_channels, h, w, 0, 0, padding[0], padding[1]};
  const auto size = [&](int64_t in, int64_t pad) {
    if (g.form == WinogradForm::up) return 2 * in + 1;
    return g.form == WinogradForm::down ? (in + 2 * pad - 3) / 2 + 1 : in + 2 * pad - 2;
  };
  STD_TORCH_CHECK(g.form == WinogradForm::up ? padding[0] == 0 && padding[1] == 0 : h + 2 * padding[0] >= 3 && w + 2 * padding[1] >= 3,
                  op, ": padding does not fit");
  g.out_h = size(h, g.pad_y), g.out_w = size(w, g.pad_x);
  STD_TORCH_CHECK(u.is_contiguous() && u.numel() == cpu::winograd_weights_size({g.form, out_channels, c, 0, 0, 0, 0}), op,
                  ": u does not belong to this convolution");
  const int64_t sizes[] = {n, out_channels, g.out_h, g.out_w};
  Tensor y = empty_strided(x, sizes, {g.out_h * g.out_w * out_channels, 1, g.out_w * out_channels, out_channels}, x.scalar_type());
  const EpilogueArguments e(op, y, g.out_h, g.out_w, scale, noise, b, negative, positive, clamp, 0);
  const SampleChannelArgument factor(op, "styles", styles, x);
  if (y.numel() == 0) return y;
  STD_TORCH_CHECK(c > 0, op, ": x has no channels");
  const int64_t threads = torch::stable::get_num_threads();
  Tensor workspace = float_vector(x, cpu::winograd_workspace(g, threads));
  cpu::winograd(g, winograd_isa(isa), e.epilogue, static_cast<const float*>(x.const_data_ptr()), static_cast<const float*>(factor.data()),
                static_cast<const float*>(u.const_data_ptr()), static_cast<float*>(y.mutable_data_ptr()),
                static_cast<float*>(workspace.mutable_data_ptr()), threads, typename Device::Context(x));
  return y;
}

template <class Device> void register_winograd(torch::stable::detail::StableLibrary& m) {
  m.impl("winograd_weights", TORCH_BOX(&winograd_weights<Device>));
  m.impl("winograd", TORCH_BOX(&winograd<Device>));
}

}  // namespace stylegan
