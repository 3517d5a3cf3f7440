// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "lib/epilogue_tensors.h"

namespace stylegan {

// What both ops begin with: x, f and y as kernels take them.
struct FirArguments {
  FirArguments(const char* op, const Tensor& given, const std::optional<Tensor>& f, const std::vector<int64_t>& up,
               const std::vector<int64_t>& down, const std::vector<int64_t>& origin, const std::vector<int64_t>& size,
               bool flip, double gain, std::optional<Tensor> out = std::nullopt)
      : x(given) {
    STD_TORCH_CHECK(x.dim() == 4, op, ": x must be [N, C, H, W]");
    STD_TORCH_CHECK(up.size() == 2 && down.size() == 2 && origin.size() == 2 && size.size() == 2, op,
                    ": up, down, origin and size are two numbers each");
    STD_TORCH_CHECK(std::min({up[0], up[1], down[0], down[1], size[0], size[1]}) >= 1, op,
                    ": up, down and size must be at least 1");
    fir.channels_last = is_channels_last(x);
    if (!fir.channels_last && !x.is_contiguous()) x = torch::stable::contiguous(x);
    fir.samples = x.size(0);
    fir.channels = x.size(1);
    fir.taps = nullptr;
    fir.separable = false;
    fir.flip = flip;
    fir.gain = gain;
    int64_t kw = 1, kh = 1;
    if (f.has_value()) {
      STD_TORCH_CHECK((f->dim() == 1 || f->dim() == 2) && f->numel() > 0, op, ": f must be [k] or [kh, kw]");
      STD_TORCH_CHECK(f->device() == x.device(), op, ": f must be on the device of x");
      taps = contiguous_as(*f, arithmetic_type(x));
      fir.taps = taps->const_data_ptr();
      fir.separable = f->dim() == 1;
      kh = f->size(0);
      kw = f->size(f->dim() - 1);
    }
    fir.x = {up[0], down[0], kw, origin[0], x.size(3), size[1]};
    fir.y = {up[1], down[1], kh, origin[1], x.size(2), size[0]};
    const int64_t n = x.size(0), c = x.size(1), h = size[0], w = size[1], sizes[] = {n, c, h, w};
    const Strides strides = fir.channels_last ? Strides{h * w * c, 1, w * c, c} : Strides{c * h * w, h * w, w, 1};
    y = out.has_value() ? *out : empty_strided(x, sizes, strides, x.scalar_type());
    STD_TORCH_CHECK(y.size(0) == n && y.size(1) == c && y.scalar_type() == x.scalar_type() && y.device() == x.device() &&
                        has_strides(y, strides),
                    op, ": y must have the samples, channels, dtype, device and layout of x");
  }

  Tensor x, y;
  std::optional<Tensor> taps;
  Fir fir;
};

template <class Device>
Tensor upfirdn2d(Tensor x, std::optional<Tensor> f, std::vector<int64_t> up, std::vector<int64_t> down,
                 std::vector<int64_t> origin, std::vector<int64_t> size, bool flip, double gain) {
  const FirArguments a("upfirdn2d", x, f, up, down, origin, size, flip, gain);
  if (a.y.numel() > 0) {
    const typename Device::Context context(a.x);
    Device::upfirdn2d(dtype_of(a.x), a.fir, nullptr, a.x.const_data_ptr(), a.y.mutable_data_ptr(), context);
  }
  return a.y;
}

template <class Device> void run_fir_act(const FirArguments& a, const EpilogueArguments& e) {
  if (a.y.numel() == 0) return;
  STD_TORCH_CHECK(e.epilogue.planes == 0 || Device::can_mask(a.fir), "fir_act: there is no mask for this shape");
  const typename Device::Context context(a.x);
  Tensor y = a.y;
  Device::upfirdn2d(dtype_of(a.x), a.fir, &e.epilogue, a.x.const_data_ptr(), y.mutable_data_ptr(), context);
}

// Filter without resampling, then v = fir * scale[n, c] + noise[n, 0, h, w] + b[c] and y = clamp(v * (v >
// 0 ? positive : negative)). planes: of the mask for bias_act_mask_grad, 0 for none.
template <class Device>
std::tuple<Tensor, Tensor> fir_act(Tensor x, std::optional<Tensor> f, std::vector<int64_t> origin,
                                   std::vector<int64_t> size, bool flip, double fir_gain, std::optional<Tensor> scale,
                                   std::optional<Tensor> noise, std::optional<Tensor> b, double negative, double positive,
                                   double clamp, int64_t planes) {
  const char* op = "fir_act";
  const FirArguments a(op, x, f, {1, 1}, {1, 1}, origin, size, flip, fir_gain);
  const EpilogueArguments e(op, a.x, size[0], size[1], scale, noise, b, negative, positive, clamp, planes);
  run_fir_act<Device>(a, e);
  return {a.y, e.mask};
}

// The same into y.
template <class Device>
void fir_act_out(Tensor x, std::optional<Tensor> f, std::vector<int64_t> origin, bool flip, double fir_gain,
                 std::optional<Tensor> scale, std::optional<Tensor> noise, std::optional<Tensor> b, double negative,
                 double positive, double clamp, Tensor y) {
  const char* op = "fir_act_out";
  STD_TORCH_CHECK(y.dim() == 4, op, ": y must be [N, C, H, W]");
  const std::vector<int64_t> size{y.size(2), y.size(3)};
  const FirArguments a(op, x, f, {1, 1}, {1, 1}, origin, size, flip, fir_gain, y);
  const EpilogueArguments e(op, a.x, size[0], size[1], scale, noise, b, negative, positive, clamp, 0);
  run_fir_act<Device>(a, e);
}

template <class Device> void register_upfirdn2d(torch::stable::detail::StableLibrary& m) {
  STYLEGAN_IMPL(m, "upfirdn2d", upfirdn2d<Device>);
  STYLEGAN_IMPL(m, "fir_act", fir_act<Device>);
  m.impl("fir_act_out", TORCH_BOX(&fir_act_out<Device>));
}

}  // namespace stylegan
