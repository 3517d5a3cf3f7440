// SPDX-License-Identifier: Apache-2.0
#include "bias_act/cpu/bias_act.h"
#include "weight_grad/cpu/weight_grad.h"
#include "filtered_lrelu/cpu/filtered_lrelu.h"
#include "scale_act/cpu/scale_act.h"
#include "upfirdn2d/cpu/upfirdn2d.h"
#include "bias_act/ops.h"
#include "filtered_lrelu/ops.h"
#include "scale_act/ops.h"
#include "upfirdn2d/ops.h"
#include "winograd/ops.h"

namespace {

struct Cpu {
  struct Context {
    explicit Context(const stylegan::Tensor&) {}
    operator stylegan::cpu::ParallelFor() const {
      return [](int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
        torch::stable::parallel_for(0, count, grain, body);  // the library's threads, not ours
      };
    }
  };
  static constexpr auto bias_act = stylegan::cpu::bias_act;
  static constexpr auto bias_act_mask_grad = stylegan::cpu::bias_act_mask_grad;
  static constexpr auto bias_act_grad = stylegan::cpu::bias_act_grad;
  static constexpr auto bias_act_grad_grad = stylegan::cpu::bias_act_grad_grad;
  static constexpr auto upfirdn2d = stylegan::cpu::upfirdn2d;
  static bool can_mask(const stylegan::Fir& f) {
    return f.y.out * f.x.out * (f.channels_last ? f.channels : 1) % stylegan::kMaskBlock == 0;
  }
  static void filtered_lrelu(stylegan::Dtype dtype, const stylegan::FilteredLrelu& p, const void* x, void* y,
                             const Context& context) {
    stylegan::cpu::filtered_lrelu(dtype, p, stylegan::cpu::best_isa(), x, y, context);
  }
  static constexpr auto scale_act = stylegan::cpu::scale_act;
  static constexpr auto scale_act_grad = stylegan::cpu::scale_act_grad;
  static bool can_mask(const stylegan::Images& g) {
    return g.pixels * (g.channels_last ? g.channels : 1) % stylegan::kMaskBlock == 0;
  }
  static bool can_sum_channels(const stylegan::Images&) { return true; }
  static int64_t noise_parts(const stylegan::Images&) { return 1; }
};

// The gradient [O, I, kh, kw] of a convolution of x by its weight; float32, channels_last.
stylegan::Tensor conv_weight_grad(stylegan::Tensor x, stylegan::Tensor dy, std::vector<int64_t> kernel, int64_t stride,
                                  std::vector<int64_t> padding) {
  using stylegan::is_channels_last;
  const char* op = "weight_grad";
  STD_TORCH_CHECK(x.dim() == 4 && dy.dim() == 4 && kernel.size() == 2 && padding.size() == 2 && stride >= 1, op,
                  ": x and dy must be [N, C, H, W], kernel and padding (y, x)");
  STD_TORCH_CHECK(x.scalar_type() == stylegan::ScalarType::Float && dy.scalar_type() == x.scalar_type(), op, ": expected float32");
  auto fits = [](const stylegan::Tensor& t) {
    return is_channels_last(t) || t.numel() == 0 || t.size(1) == 1 || t.size(2) * t.size(3) == 1;
  };
  STD_TORCH_CHECK(fits(x) && fits(dy), op, ": x and dy must be channels_last");
  STD_TORCH_CHECK(x.size(1) % stylegan::cpu::kInUnit == 0 && dy.size(1) % stylegan::cpu::kOutUnit == 0, op,
                  ": channels must be multiples of ", stylegan::cpu::kInUnit, " and ", stylegan::cpu::kOutUnit);
  for (int i = 0; i < 2; ++i)
    STD_TORCH_CHECK((dy.size(2 + i) - 1) * stride + kernel[i] <= x.size(2 + i) + 2 * padding[i] && padding[i] >= 0, op,
                    ": the shapes do not belong to a convolution");
  STD_TORCH_CHECK(x.size(0) == dy.size(0), op, ": x and dy must have as many samples");
  const int64_t o = dy.size(1), i = x.size(1), kh = kernel[0], kw = kernel[1], sizes[] = {o, i, kh, kw};
  stylegan::Tensor dw = stylegan::empty_strided(x, sizes, {i * kh * kw, kh * kw, kw, 1}, x.scalar_type());
  if (x.numel() == 0 || dy.numel() == 0) torch::stable::zero_(dw);
  if (x.numel() == 0 || dy.numel() == 0 || dw.numel() == 0) return dw;
  const stylegan::cpu::WeightGrad g{x.size(0), i, o, x.size(2), x.size(3), dy.size(2), dy.size(3), kh, kw, stride, padding[0], padding[1]};
  stylegan::cpu::conv_weight_grad(g, static_cast<const float*>(x.const_data_ptr()), static_cast<const float*>(dy.const_data_ptr()),
                                  static_cast<float*>(dw.mutable_data_ptr()), Cpu::Context(x));
  return dw;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(stylegan_ops, CPU, m) {
  stylegan::register_bias_act<Cpu>(m);
  stylegan::register_upfirdn2d<Cpu>(m);
  stylegan::register_scale_act<Cpu>(m);
  stylegan::register_filtered_lrelu<Cpu>(m);
  stylegan::register_winograd<Cpu>(m);
  m.impl("weight_grad", TORCH_BOX(&conv_weight_grad));
}
