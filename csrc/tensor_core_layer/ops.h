// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "lib/epilogue_tensors.h"

namespace stylegan {

// t, dense, at an address that is a multiple of 16.
inline Tensor at_16_bytes(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0 ? t : torch::stable::clone(t);
}

// y = clamp(v * (v > 0 ? positive : negative)), v = conv(x * styles[n, i], weight) * scale[n, o] + noise[n, 0, h, w]
// + b[o], in channels_last, and planes of its mask for bias_act_mask_grad, 0 for none.
//
// weight is [O, k, k, I], k 1 or 3, or with up = 2 [4 * O, k, k, I]: the phases of y, each a convolution of x;
// see cuda/modconv.cuh. origin: how far the first pixel of y, (y, x), reaches before x; size: of y, (H', W'). variant
// -1 and split 0 choose for themselves.
template <class Device>
std::tuple<Tensor, Tensor> modconv_gemm(Tensor x, Tensor weight, std::optional<Tensor> styles,
                                        std::optional<Tensor> scale, std::optional<Tensor> noise,
                                        std::optional<Tensor> b, std::vector<int64_t> origin, std::vector<int64_t> size,
                                        int64_t up, double negative, double positive, double clamp, int64_t planes,
                                        int64_t variant, int64_t split) {
  const char* op = "tensor_core_layer";
  STD_TORCH_CHECK(x.dim() == 4, op, ": x must be [N, I, H, W]");
  STD_TORCH_CHECK(up == 1 || up == 2, op, ": up must be 1 or 2");
  STD_TORCH_CHECK(origin.size() == 2 && size.size() == 2, op, ": origin and size are two numbers each");
  STD_TORCH_CHECK(size[0] >= 1 && size[1] >= 1, op, ": size must be at least 1");
  const int64_t n = x.size(0), in = x.size(1), phases = up * up;
  STD_TORCH_CHECK(weight.dim() == 4 && weight.size(0) % phases == 0 && weight.size(1) == weight.size(2) &&
                      weight.size(3) == in && weight.scalar_type() == x.scalar_type() && weight.device() == x.device(),
                  op, ": weight must be [", phases == 1 ? "O" : "4 * O",
                  ", k, k, I] in the dtype and on the device of x");
  const int64_t out = weight.size(0) / phases, kernel = weight.size(1), h = size[0], w = size[1];
  x = at_16_bytes(with_strides(x, {x.size(2) * x.size(3) * in, 1, x.size(3) * in, in}));
  weight = at_16_bytes(with_strides(weight, {kernel * kernel * in, kernel * in, in, 1}));
  if (styles.has_value()) styles = at_16_bytes(contiguous_as(*styles, arithmetic_type(x)));
  const int64_t sizes[] = {n, out, h, w};
  Tensor y = empty_strided(x, sizes, {h * w * out, 1, w * out, out}, x.scalar_type());
  const SampleChannelArgument style(op, "styles", styles, x);
  const EpilogueArguments e(op, y, h, w, scale, noise, b, negative, positive, clamp, planes);
  STD_TORCH_CHECK(planes == 0 || out % 8 == 0, op, ": there is no mask for this shape");
  if (y.numel() == 0) return {y, e.mask};
  const typename Device::ModConv c{n, in, out, x.size(2), x.size(3), h, w, static_cast<int>(kernel),
                                   origin[0], origin[1], up == 2};
  const typename Device::Context context(x);
  Device::modconv(dtype_of(x), c, e.epilogue, x.const_data_ptr(), weight.const_data_ptr(), style.data(),
                  y.mutable_data_ptr(), static_cast<int>(variant), static_cast<int>(split), context);
  return {y, e.mask};
}

template <class Device> void register_modconv(torch::stable::detail::StableLibrary& m) {
  m.impl("tensor_core_layer", TORCH_BOX(&modconv_gemm<Device>));
}

}  // namespace stylegan
