// SPDX-License-Identifier: Apache-2.0
// The op filtered_lrelu: arguments checked, outputs allocated, kernel called.
#pragma once

#include "filtered_lrelu/params.h"
#include "lib/op.h"
#include "lib/tensor.h"

namespace stylegan::filtered_lrelu {

// One of the two filters as kernels take it.
struct FilterArgument {
  FilterArgument(const char* op, const char* name, const std::optional<Tensor>& f, const Tensor& x, bool flip,
                 double gain)
      : filter{nullptr, false, flip, gain} {
    if (!f.has_value()) return;
    STD_TORCH_CHECK((f->dim() == 1 || f->dim() == 2) && f->numel() > 0, op, ": ", name, " must be [k] or [kh, kw]");
    STD_TORCH_CHECK(f->device() == x.device(), op, ": ", name, " must be on the device of x");
    tensor = contiguous_as(*f, ScalarType::Float);
    height = f->size(0);
    width = f->size(f->dim() - 1);
    STD_TORCH_CHECK(std::max(height, width) <= kMaxTaps, op, ": ", name, " has more than ", kMaxTaps, " taps");
    filter.taps = tensor->const_data_ptr();
    filter.separable = f->dim() == 1;
  }
  std::optional<Tensor> tensor;
  FilterTaps filter;
  int64_t height = 1, width = 1;
};

struct Call {
  Tensor x;
  std::optional<Tensor> fu, fd, b, mask;  // mask: in place of the signs
  int64_t up, down;
  std::vector<int64_t> up_origin, down_origin;  // x, y
  std::vector<int64_t> mid, size;               // between the filters, of y: height, width
  bool up_flip, down_flip;
  double up_gain, down_gain, negative, positive, clamp;
  bool write;  // the mask
};

inline void check_call(const char* op, const Call& call) {
  STD_TORCH_CHECK(call.x.dim() == 4 && call.x.scalar_type() != ScalarType::Double, op,
                  ": x must be [N, C, H, W] of 16 or 32 bits");
  STD_TORCH_CHECK(
      call.up_origin.size() == 2 && call.down_origin.size() == 2 && call.mid.size() == 2 && call.size.size() == 2, op,
      ": origins, mid and size are two numbers each");
  STD_TORCH_CHECK(std::min(call.mid[0], call.mid[1]) >= 1 && std::min(call.size[0], call.size[1]) >= 0, op,
                  ": mid must be at least 1, size 0");
  STD_TORCH_CHECK(!call.write || !call.mask.has_value(), op, ": a mask is given or written, not both");
  for (const int64_t factor : {call.up, call.down})
    STD_TORCH_CHECK(factor == 1 || factor == 2 || factor == 4, op, ": up and down must be 1, 2 or 4, got ", factor);
}

// The sizes of the mask: [..., words of a row].
inline Strides mask_shape(const Params& p) {
  const int64_t words = ceil_div(p.mask_row(), kMaskSamples), h = p.y.up.out, w = p.x.up.out;
  return p.channels_last ? Strides{p.samples, h, w, words} : Strides{p.samples, p.channels, h, words};
}

inline void check_mask(const char* op, const Tensor& mask, const Tensor& x, const Strides& shape) {
  STD_TORCH_CHECK(mask.dim() == 4 && mask.scalar_type() == ScalarType::Int && mask.is_contiguous() &&
                      mask.device() == x.device() && std::equal(shape.begin(), shape.end(), mask.sizes().begin()),
                  op, ": the mask belongs to another image or layout");
}

// y = fir(down, clamp(slopes of fir(up, x + b))), see params.h. Returns y and the mask; without `write` the mask has no
// elements.
template <class Device> std::tuple<Tensor, Tensor> forward(Call call) {
  const char* op = "filtered_lrelu";
  check_call(op, call);
  const Tensor x = in_either_layout(call.x);
  const FilterArgument up(op, "fu", call.fu, x, call.up_flip, call.up_gain);
  const FilterArgument down(op, "fd", call.fd, x, call.down_flip, call.down_gain);
  const ChannelArgument bias(op, "b", call.b, x, 1);
  const int64_t n = x.size(0), c = x.size(1), h = call.size[0], w = call.size[1];
  const int64_t mid_h = call.mid[0], mid_w = call.mid[1];
  Params p;
  p.channels_last = is_channels_last(x);
  p.samples = n;
  p.channels = c;
  p.x = {{call.up, 1, up.width, call.up_origin[0], x.size(3), mid_w},
         {1, call.down, down.width, call.down_origin[0], mid_w, w}};
  p.y = {{call.up, 1, up.height, call.up_origin[1], x.size(2), mid_h},
         {1, call.down, down.height, call.down_origin[1], mid_h, h}};
  p.up = up.filter;
  p.down = down.filter;
  p.b = bias.data();
  p.slopes = {call.negative, call.positive};
  p.clamp = clamp_or_infinity(call.clamp);
  p.signs = call.mask.has_value() ? Signs::given : call.write ? Signs::written : Signs::own;
  p.mask = nullptr;
  const int64_t sizes[] = {n, c, h, w};
  Tensor y = empty_strided(x, sizes, image_strides(p.channels_last, c, h, w), x.scalar_type());
  const Strides shape = mask_shape(p);
  if (call.mask.has_value()) check_mask(op, *call.mask, x, shape);
  const Strides rows{shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1};
  Tensor written = p.signs == Signs::written ? empty_strided(x, shape.data(), rows, ScalarType::Int)
                                             : empty_vector(x, 0, ScalarType::Int);
  if (p.signs == Signs::written) p.mask = static_cast<uint32_t*>(written.mutable_data_ptr());
  if (p.signs == Signs::given)  // the kernels do not write to it
    p.mask = const_cast<uint32_t*>(static_cast<const uint32_t*>(call.mask->const_data_ptr()));
  if (y.numel() > 0) {
    const typename Device::Context context(x);
    Device::filtered_lrelu(dtype_of(x), p, x.const_data_ptr(), y.mutable_data_ptr(), context);
  }
  return {y, written};
}

template <class Device> void implement_ops(Library& m) { implement_with_raw<&forward<Device>>(m, "filtered_lrelu"); }

}  // namespace stylegan::filtered_lrelu
