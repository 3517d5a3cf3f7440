// SPDX-License-Identifier: Apache-2.0
// The op upfirdn2d: arguments checked, output allocated, kernel called.
#pragma once

#include "lib/op.h"
#include "lib/tensor.h"
#include "upfirdn2d/params.h"

namespace stylegan::upfirdn2d {

struct Call {
  Tensor x;
  std::optional<Tensor> f;
  std::vector<int64_t> up, down, origin;  // x, y
  std::vector<int64_t> size;              // of y: height, width
  bool flip;
  double gain;
};

// x, f and y as kernels take them.
struct FirTensors {
  FirTensors(const char* op, const Call& call, std::optional<Tensor> out = std::nullopt) : x(call.x) {
    const auto &up = call.up, &down = call.down, &origin = call.origin, &size = call.size;
    STD_TORCH_CHECK(x.dim() == 4, op, ": x must be [N, C, H, W]");
    STD_TORCH_CHECK(up.size() == 2 && down.size() == 2 && origin.size() == 2 && size.size() == 2, op,
                    ": up, down, origin and size are two numbers each");
    STD_TORCH_CHECK(std::min({up[0], up[1], down[0], down[1], size[0], size[1]}) >= 1, op,
                    ": up, down and size must be at least 1");
    x = in_either_layout(x);
    fir.channels_last = is_channels_last(x);
    fir.samples = x.size(0);
    fir.channels = x.size(1);
    fir.taps = nullptr;
    fir.separable = false;
    fir.flip = call.flip;
    fir.gain = call.gain;
    int64_t kw = 1, kh = 1;
    if (call.f.has_value()) {
      const Tensor& f = *call.f;
      STD_TORCH_CHECK((f.dim() == 1 || f.dim() == 2) && f.numel() > 0, op, ": f must be [k] or [kh, kw]");
      STD_TORCH_CHECK(f.device() == x.device(), op, ": f must be on the device of x");
      taps = contiguous_as(f, arithmetic_type(x));
      fir.taps = taps->const_data_ptr();
      fir.separable = f.dim() == 1;
      kh = f.size(0);
      kw = f.size(f.dim() - 1);
    }
    const int64_t n = x.size(0), c = x.size(1), h = size[0], w = size[1], sizes[] = {n, c, h, w};
    fir.x = {up[0], down[0], kw, origin[0], x.size(3), w};
    fir.y = {up[1], down[1], kh, origin[1], x.size(2), h};
    const Strides strides = image_strides(fir.channels_last, c, h, w);
    y = out.has_value() ? *out : empty_strided(x, sizes, strides, x.scalar_type());
    STD_TORCH_CHECK(y.size(0) == n && y.size(1) == c && y.scalar_type() == x.scalar_type() &&
                        y.device() == x.device() && has_strides(y, strides),
                    op, ": y must have the samples, channels, dtype, device and layout of x");
  }

  Tensor x, y;
  std::optional<Tensor> taps;
  Fir fir;
};

template <class Device> Tensor forward(Call call) {
  FirTensors t("upfirdn2d", call);
  if (t.y.numel() > 0) {
    const typename Device::Context context(t.x);
    Device::upfirdn2d(dtype_of(t.x), t.fir, nullptr, t.x.const_data_ptr(), t.y.mutable_data_ptr(), context);
  }
  return t.y;
}

template <class Device> void implement_ops(Library& m) { implement_with_raw<&forward<Device>>(m, "upfirdn2d"); }

}  // namespace stylegan::upfirdn2d
