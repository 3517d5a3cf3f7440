// SPDX-License-Identifier: Apache-2.0
// The kernels for CPUs, registered as ops.
#include "bias_act/cpu/bias_act.h"
#include "bias_act/ops.h"
#include "filtered_lrelu/cpu/filtered_lrelu.h"
#include "filtered_lrelu/ops.h"
#include "fir_act/ops.h"
#include "scale_act/cpu/scale_act.h"
#include "scale_act/ops.h"
#include "upfirdn2d/cpu/upfirdn2d.h"
#include "upfirdn2d/ops.h"
#include "warp_affine/cpu/warp_affine.h"
#include "warp_affine/ops.h"
#include "weight_grad/ops.h"
#include "winograd/ops.h"

namespace {

struct Cpu {
  struct Context {
    explicit Context(const stylegan::Tensor&) {}
    operator stylegan::cpu::ParallelFor() const {
      return [](int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
        torch::stable::parallel_for(0, count, grain, body);  // PyTorch's threads
      };
    }
  };
  static constexpr auto bias_act = stylegan::bias_act::cpu::forward;
  static constexpr auto bias_act_mask_grad = stylegan::bias_act::cpu::mask_grad;
  static constexpr auto bias_act_grad = stylegan::bias_act::cpu::grad;
  static constexpr auto bias_act_grad_grad = stylegan::bias_act::cpu::grad_grad;
  static constexpr auto upfirdn2d = stylegan::upfirdn2d::cpu::run;
  static bool can_mask(const stylegan::upfirdn2d::Fir& f) {
    return f.y.out * f.x.out * (f.channels_last ? f.channels : 1) % stylegan::kMaskBlock == 0;
  }
  static void filtered_lrelu(stylegan::Dtype dtype, const stylegan::filtered_lrelu::Params& p, const void* x, void* y,
                             const Context& context) {
    stylegan::filtered_lrelu::cpu::run(dtype, p, stylegan::cpu::best_isa(), x, y, context);
  }
  static constexpr auto warp_affine = stylegan::warp_affine::cpu::run;
  static constexpr auto scale_act = stylegan::scale_act::cpu::forward;
  static constexpr auto scale_act_grad = stylegan::scale_act::cpu::grad;
  static bool can_mask(const stylegan::scale_act::Images& g) {
    return g.pixels * (g.channels_last ? g.channels : 1) % stylegan::kMaskBlock == 0;
  }
  static bool can_sum_channels(const stylegan::scale_act::Images&) { return true; }
  static int64_t noise_parts(const stylegan::scale_act::Images&) { return 1; }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(stylegan_ops, CPU, m) {
  stylegan::bias_act::implement_ops<Cpu>(m);
  stylegan::upfirdn2d::implement_ops<Cpu>(m);
  stylegan::fir_act::implement_ops<Cpu>(m);
  stylegan::scale_act::implement_ops<Cpu>(m);
  stylegan::filtered_lrelu::implement_ops<Cpu>(m);
  stylegan::warp_affine::implement_ops<Cpu>(m);
  stylegan::winograd::implement_ops<Cpu>(m);
  stylegan::weight_grad::implement_ops<Cpu>(m);
}
