// SPDX-License-Identifier: Apache-2.0
// The op tensor_core_layer: arguments checked, outputs allocated, kernel called.
#pragma once

#include "lib/epilogue_tensors.h"
#include "lib/op.h"
#include "tensor_core_layer/params.h"

namespace stylegan::tensor_core_layer {

// t, dense, at an address that is a multiple of 16.
inline Tensor at_16_bytes(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0 ? t : torch::stable::clone(t);
}

struct Call {
  Tensor x, weight;
  std::optional<Tensor> styles;
  EpilogueVectors vectors;
  std::vector<int64_t> origin;  // y, x: how far the first pixel of y reaches before x
  std::vector<int64_t> size;    // of y: height, width
  int64_t up;
  SlopesAndClamp activation;
  int64_t planes;          // of the mask
  int64_t variant, split;  // -1 and 0: chosen by the kernel
};

inline void check_call(const char* op, const Call& call) {
  const Tensor &x = call.x, &weight = call.weight;
  STD_TORCH_CHECK(x.dim() == 4, op, ": x must be [N, I, H, W]");
  STD_TORCH_CHECK(call.up == 1 || call.up == 2, op, ": up must be 1 or 2");
  STD_TORCH_CHECK(call.origin.size() == 2 && call.size.size() == 2, op, ": origin and size are two numbers each");
  STD_TORCH_CHECK(call.size[0] >= 1 && call.size[1] >= 1, op, ": size must be at least 1");
  const int64_t phases = call.up * call.up;
  STD_TORCH_CHECK(
      weight.dim() == 4 && weight.size(0) % phases == 0 && weight.size(1) == weight.size(2) &&
          weight.size(3) == x.size(1) && weight.scalar_type() == x.scalar_type() && weight.device() == x.device(),
      op, ": weight must be [", phases == 1 ? "O" : "4 * O", ", k, k, I] in the dtype and on the device of x");
}

// y = clamp(v * (v > 0 ? positive : negative)), v = conv(x * styles[n, i], weight) * scale[n, o] + noise[n, 0, h, w]
// + b[o], in channels_last. Returns y and a mask of `planes` planes for bias_act_mask_grad.
//
// weight is [O, k, k, I], k 1 or 3, or with up = 2 [4 * O, k, k, I]: the phases of y, each a convolution of x; see
// params.h.
template <class Device> std::tuple<Tensor, Tensor> forward(Call call) {
  const char* op = "tensor_core_layer";
  check_call(op, call);
  const int64_t n = call.x.size(0), in = call.x.size(1), out = call.weight.size(0) / (call.up * call.up);
  const int64_t kernel = call.weight.size(1), h = call.size[0], w = call.size[1];
  const Tensor x = at_16_bytes(with_strides(call.x, image_strides(true, in, call.x.size(2), call.x.size(3))));
  const Tensor weight = at_16_bytes(with_strides(call.weight, {kernel * kernel * in, kernel * in, in, 1}));
  if (call.styles.has_value()) call.styles = at_16_bytes(contiguous_as(*call.styles, arithmetic_type(x)));
  const int64_t sizes[] = {n, out, h, w};
  Tensor y = empty_strided(x, sizes, image_strides(true, out, h, w), x.scalar_type());
  const SampleChannelArgument styles(op, "styles", call.styles, x);
  const EpilogueTensors e(op, y, h, w, call.vectors, call.activation, call.planes);
  STD_TORCH_CHECK(call.planes == 0 || out % 8 == 0, op, ": there is no mask for this shape");
  if (y.numel() == 0) return {y, e.mask};
  const Convolution c{
      n, in, out, x.size(2), x.size(3), h, w, static_cast<int>(kernel), call.origin[0], call.origin[1], call.up == 2};
  const typename Device::Context context(x);
  Device::tensor_core_layer(dtype_of(x), c, e.epilogue, {x.const_data_ptr(), weight.const_data_ptr(), styles.data()},
                            y.mutable_data_ptr(), {static_cast<int>(call.variant), static_cast<int>(call.split)},
                            context);
  return {y, e.mask};
}

template <class Device> void implement_ops(Library& m) { implement<&forward<Device>>(m, "tensor_core_layer"); }

}  // namespace stylegan::tensor_core_layer
