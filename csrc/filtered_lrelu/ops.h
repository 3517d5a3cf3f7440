// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "filtered_lrelu/params.h"
#include "lib/epilogue_tensors.h"

namespace stylegan {

// One of the two filters as kernels take it.
struct FilterArgument {
  FilterArgument(const char* op, const char* name, const std::optional<Tensor>& f, const Tensor& x, bool flip, double gain)
      : filter{nullptr, false, flip, gain} {
    if (!f.has_value()) return;
    STD_TORCH_CHECK((f->dim() == 1 || f->dim() == 2) && f->numel() > 0, op, ": ", name, " must be [k] or [kh, kw]");
    STD_TORCH_CHECK(f->device() == x.device(), op, ": ", name, " must be on the device of x");
    tensor = contiguous_as(*f, ScalarType::Float);
    height = f->size(0);
    width = f->size(f->dim() - 1);
    STD_TORCH_CHECK(std::max(height, width) <= kFilteredTaps, op, ": ", name, " has more than ", kFilteredTaps, " taps");
    filter.taps = tensor->const_data_ptr();
    filter.separable = f->dim() == 1;
  }
  std::optional<Tensor> tensor;
  FilterTaps filter;
  int64_t height = 1, width = 1;
};

// y = fir(down, clamp(slopes of fir(up, x + b))), see common/filtered_lrelu.h. mask: in place of the signs;
// write: return it, else one without elements.
template <class Device>
std::tuple<Tensor, Tensor> filtered_lrelu(Tensor x, std::optional<Tensor> fu, std::optional<Tensor> fd,
                                          std::optional<Tensor> b, std::optional<Tensor> mask, int64_t up, int64_t down,
                                          std::vector<int64_t> up_origin, std::vector<int64_t> down_origin,
                                          std::vector<int64_t> mid, std::vector<int64_t> size, bool up_flip, bool down_flip,
                                          double up_gain, double down_gain, double negative, double positive, double clamp,
                                          bool write) {
  const char* op = "filtered_lrelu";
  STD_TORCH_CHECK(x.dim() == 4 && x.scalar_type() != ScalarType::Double, op, ": x must be [N, C, H, W] of 16 or 32 bits");
  STD_TORCH_CHECK(up_origin.size() == 2 && down_origin.size() == 2 && mid.size() == 2 && size.size() == 2, op,
                  ": origins, mid and size are two numbers each");
  STD_TORCH_CHECK(std::min(mid[0], mid[1]) >= 1 && std::min(size[0], size[1]) >= 0, op, ": mid must be at least 1, size 0");
  STD_TORCH_CHECK(!write || !mask.has_value(), op, ": a mask is given or written, not both");
  for (const int64_t factor : {up, down})
    STD_TORCH_CHECK(factor == 1 || factor == 2 || factor == 4, op, ": up and down must be 1, 2 or 4, got ", factor);
  FilteredLrelu p;
  p.channels_last = is_channels_last(x);
  if (!p.channels_last && !x.is_contiguous()) x = torch::stable::contiguous(x);
  const FilterArgument first(op, "fu", fu, x, up_flip, up_gain), second(op, "fd", fd, x, down_flip, down_gain);
  const ChannelArgument bias(op, "b", b, x, 1);
  const int64_t n = x.size(0), c = x.size(1), h = size[0], w = size[1];
  p.samples = n;
  p.channels = c;
  p.x = {{up, 1, first.width, up_origin[0], x.size(3), mid[1]}, {1, down, second.width, down_origin[0], mid[1], w}};
  p.y = {{up, 1, first.height, up_origin[1], x.size(2), mid[0]}, {1, down, second.height, down_origin[1], mid[0], h}};
  p.up = first.filter;
  p.down = second.filter;
  p.b = bias.data();
  p.slopes = {negative, positive};
  p.clamp = clamp < 0 ? std::numeric_limits<double>::infinity() : clamp;
  p.signs = mask.has_value() ? Signs::given : write ? Signs::written : Signs::own;
  p.mask = nullptr;
  const int64_t sizes[] = {n, c, h, w};
  const Strides strides = p.channels_last ? Strides{h * w * c, 1, w * c, c} : Strides{c * h * w, h * w, w, 1};
  Tensor y = empty_strided(x, sizes, strides, x.scalar_type());
  const int64_t words = (p.mask_row() + kMaskSamples - 1) / kMaskSamples;
  const Strides shape = p.channels_last ? Strides{n, mid[0], mid[1], words} : Strides{n, c, mid[0], words};
  if (mask.has_value())
    STD_TORCH_CHECK(mask->dim() == 4 && mask->scalar_type() == ScalarType::Int && mask->is_contiguous() &&
                        mask->device() == x.device() && std::equal(shape.begin(), shape.end(), mask->sizes().begin()),
                    op, ": the mask belongs to another image or layout");
  const Strides rows{shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1};
  Tensor written = write && !mask.has_value() ? empty_strided(x, shape.data(), rows, ScalarType::Int)
                                              : empty_vector(x, 0, ScalarType::Int);
  if (p.signs == Signs::written) p.mask = static_cast<uint32_t*>(written.mutable_data_ptr());
  if (mask.has_value()) p.mask = const_cast<uint32_t*>(static_cast<const uint32_t*>(mask->const_data_ptr()));  // not written
  if (y.numel() > 0) {
    const typename Device::Context context(x);
    Device::filtered_lrelu(dtype_of(x), p, x.const_data_ptr(), y.mutable_data_ptr(), context);
  }
  return {y, written};
}

template <class Device> void register_filtered_lrelu(torch::stable::detail::StableLibrary& m) {
  STYLEGAN_IMPL(m, "filtered_lrelu", filtered_lrelu<Device>);
}

}  // namespace stylegan
