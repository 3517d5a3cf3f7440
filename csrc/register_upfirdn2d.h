// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/fir.h"
#include "register.h"

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

// What both ops begin with: x, f and y as kernels take them.
struct FirArguments {
  FirArguments(const char* op, const Tensor& given, const std::optional<Tensor>& f, const std::vector<int64_t>& up,
               const std::vector<int64_t>& down, const std::vector<int64_t>& origin, const std::vector<int64_t>& size,
               bool flip, double gain)
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
    y = empty_strided(x, sizes, fir.channels_last ? Strides{h * w * c, 1, w * c, c} : Strides{c * h * w, h * w, w, 1},
                      x.scalar_type());
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

// Filter without resampling, then v = fir * scale[n, c] + noise[n, 0, h, w] + b[c] and y = clamp(v * (v >
// 0 ? positive : negative)). planes: of the mask for bias_act_mask_grad, 0 for none.
template <class Device>
std::tuple<Tensor, Tensor> fir_act(Tensor x, std::optional<Tensor> f, std::vector<int64_t> origin,
                                   std::vector<int64_t> size, bool flip, double fir_gain, std::optional<Tensor> scale,
                                   std::optional<Tensor> noise, std::optional<Tensor> b, double negative, double positive,
                                   double clamp, int64_t planes) {
  const char* op = "fir_act";
  const FirArguments a(op, x, f, {1, 1}, {1, 1}, origin, size, flip, fir_gain);
  const int64_t n = x.size(0), c = x.size(1);
  const ScalarType type = arithmetic_type(x);
  auto vector = [&](std::optional<Tensor>& t) -> const void* {
    if (!t.has_value()) return nullptr;
    STD_TORCH_CHECK(t->device() == x.device(), op, ": all tensors must be on the device of x");
    t = contiguous_as(*t, type);
    return t->const_data_ptr();
  };
  if (clamp < 0) clamp = std::numeric_limits<double>::infinity();
  STD_TORCH_CHECK(0 <= planes && planes <= 2, op, ": planes must be 0, 1 or 2");
  STD_TORCH_CHECK(!scale.has_value() || (scale->dim() == 2 && scale->size(0) == n && scale->size(1) == c), op,
                  ": scale must be [N, C]");
  STD_TORCH_CHECK(!noise.has_value() ||
                      (noise->dim() == 4 && (noise->size(0) == n || noise->size(0) == 1) && noise->size(1) == 1 &&
                       noise->size(2) == size[0] && noise->size(3) == size[1]),
                  op, ": noise must be [N, 1, H, W] or [1, 1, H, W]");
  STD_TORCH_CHECK(!b.has_value() || (b->dim() == 1 && b->size(0) == c), op, ": b must be [C]");
  const bool per_sample = noise.has_value() && noise->size(0) > 1;
  FirEpilogue epilogue{vector(scale), vector(noise), vector(b), per_sample, {negative, positive}, clamp, nullptr, 0};
  epilogue.planes = static_cast<int>(planes);
  Tensor mask = empty_vector(x, planes * mask_plane_bytes(a.y.numel()), ScalarType::Byte);
  if (a.y.numel() > 0) {
    STD_TORCH_CHECK(planes == 0 || Device::can_mask(a.fir), op, ": there is no mask for this shape");
    epilogue.mask = planes ? static_cast<uint8_t*>(mask.mutable_data_ptr()) : nullptr;
    const typename Device::Context context(a.x);
    Device::upfirdn2d(dtype_of(a.x), a.fir, &epilogue, a.x.const_data_ptr(), a.y.mutable_data_ptr(), context);
  }
  return {a.y, mask};
}

template <class Device> void register_upfirdn2d(torch::stable::detail::StableLibrary& m) {
  STYLEGAN_IMPL(m, "upfirdn2d", upfirdn2d<Device>);
  STYLEGAN_IMPL(m, "fir_act", fir_act<Device>);
}

}  // namespace stylegan
