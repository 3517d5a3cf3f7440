// SPDX-License-Identifier: Apache-2.0
#include "cpu/bias_act.h"
#include "cpu/scale_act.h"
#include "cpu/upfirdn2d.h"
#include "register_bias_act.h"
#include "register_scale_act.h"
#include "register_upfirdn2d.h"

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
  static constexpr auto scale_act = stylegan::cpu::scale_act;
  static constexpr auto scale_act_grad = stylegan::cpu::scale_act_grad;
  static bool can_mask(const stylegan::Images& g) {
    return g.pixels * (g.channels_last ? g.channels : 1) % stylegan::kMaskBlock == 0;
  }
  static bool can_sum_channels(const stylegan::Images&) { return true; }
  static int64_t noise_parts(const stylegan::Images&) { return 1; }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(stylegan_ops, CPU, m) {
  stylegan::register_bias_act<Cpu>(m);
  stylegan::register_upfirdn2d<Cpu>(m);
  stylegan::register_scale_act<Cpu>(m);
}
