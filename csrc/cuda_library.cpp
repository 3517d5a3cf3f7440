// SPDX-License-Identifier: Apache-2.0
#include <torch/csrc/stable/accelerator.h>

#include "bias_act/cuda/bias_act.cuh"
#include "filtered_lrelu/cuda/filtered_lrelu.cuh"
#include "tensor_core_layer/cuda/tensor_core_layer.cuh"
#include "scale_act/cuda/scale_act.cuh"
#include "upfirdn2d/cuda/upfirdn2d.cuh"
#include "bias_act/ops.h"
#include "filtered_lrelu/ops.h"
#include "tensor_core_layer/ops.h"
#include "scale_act/ops.h"
#include "upfirdn2d/ops.h"

namespace {

struct Cuda {
  // The device of x, and the stream that torch is on.
  struct Context {
    explicit Context(const stylegan::Tensor& x) : x(x), guard(x.get_device_index()) {
      void* current = nullptr;
      TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &current));
      stream = static_cast<cudaStream_t>(current);
    }
    // Room for sums by channel; the allocator keeps it until the stream is done with it.
    stylegan::Tensor partial(const void* db, stylegan::Channels c) const {
      return stylegan::empty_vector(x, db == nullptr ? 0 : stylegan::cuda::bias_act_partial_size(c),
                                    stylegan::arithmetic_type(x));
    }
    const stylegan::Tensor& x;
    torch::stable::accelerator::DeviceGuard guard;
    cudaStream_t stream;
  };

  static void bias_act(stylegan::Dtype dtype, stylegan::ActParams p, stylegan::Channels c, const void* x,
                       const void* b, void* y, uint8_t* mask, const Context& context) {
    stylegan::cuda::bias_act(dtype, p, c, x, b, y, mask, context.stream);
  }

  static void bias_act_mask_grad(stylegan::Dtype dtype, stylegan::Slopes slopes, bool has_clamp,
                                 stylegan::Channels c, const void* dy, const void* e, const uint8_t* mask,
                                 void* dx, void* db, const Context& context) {
    const stylegan::Tensor partial = context.partial(db, c);
    stylegan::cuda::bias_act_mask_grad(dtype, slopes, has_clamp, c, dy, e, mask, dx, db,
                                       partial.mutable_data_ptr(), context.stream);
  }

  static void bias_act_grad(stylegan::Dtype dtype, stylegan::ActParams p, stylegan::Channels c, const void* dy,
                            const void* x, const void* b, void* dx, void* db, const Context& context) {
    const stylegan::Tensor partial = context.partial(db, c);
    stylegan::cuda::bias_act_grad(dtype, p, c, dy, x, b, dx, db, partial.mutable_data_ptr(), context.stream);
  }

  static void bias_act_grad_grad(stylegan::Dtype dtype, stylegan::ActParams p, stylegan::Channels c,
                                 const void* ddx, const void* ddb, const void* dy, const void* x, const void* b,
                                 void* d_dy, void* d_x, void* d_b, const Context& context) {
    const stylegan::Tensor partial = context.partial(d_b, c);
    stylegan::cuda::bias_act_grad_grad(dtype, p, c, ddx, ddb, dy, x, b, d_dy, d_x, d_b,
                                       partial.mutable_data_ptr(), context.stream);
  }

  static void upfirdn2d(stylegan::Dtype dtype, const stylegan::Fir& fir, const stylegan::FirEpilogue* epilogue,
                        const void* x, void* y, const Context& context) {
    stylegan::cuda::upfirdn2d(dtype, fir, epilogue, x, y, context.stream);
  }

  static void filtered_lrelu(stylegan::Dtype dtype, const stylegan::FilteredLrelu& f, const void* x, void* y,
                             const Context& context) {
    stylegan::cuda::filtered_lrelu(dtype, f, x, y, context.stream);
  }

  static void scale_act(stylegan::Dtype dtype, const stylegan::Images& images, const stylegan::FirEpilogue& e, const void* x,
                        void* y, const Context& context) {
    stylegan::cuda::scale_act(dtype, images, e, x, y, context.stream);
  }

  static void scale_act_grad(stylegan::Dtype dtype, const stylegan::Images& images, const stylegan::ScaleActGrad& a,
                             const void* dy, void* dx, const Context& context) {
    const bool sums = a.products != nullptr || a.sums != nullptr;
    const stylegan::Tensor partial = stylegan::empty_vector(
        context.x, sums ? stylegan::cuda::scale_act_partial_size(images) : 0, stylegan::arithmetic_type(context.x));
    stylegan::cuda::scale_act_grad(dtype, images, a, dy, dx, partial.mutable_data_ptr(), context.stream);
  }

  using ModConv = stylegan::cuda::ModConv;
  static void modconv(stylegan::Dtype dtype, const ModConv& c, const stylegan::FirEpilogue& e, const void* x,
                      const void* weight, const void* styles, void* y, int variant, int split, const Context& context) {
    STD_TORCH_CHECK(stylegan::cuda::modconv_runs(), "tensor_core_layer: needs a GPU of compute capability 8.0 or more");
    STD_TORCH_CHECK(stylegan::cuda::modconv_fits(dtype, c), "tensor_core_layer: the kernel does not take this shape or dtype");
    const int variants = stylegan::cuda::modconv_variants(dtype);
    STD_TORCH_CHECK(variant < variants, "tensor_core_layer: variant must be less than ", variants, ", got ", variant);
    const stylegan::cuda::ModConvChoice choice = stylegan::cuda::modconv_choice(dtype, c, variant, split);
    const stylegan::Tensor room =
        stylegan::empty_vector(context.x, stylegan::cuda::modconv_workspace(c, choice), stylegan::ScalarType::Float);
    stylegan::cuda::modconv(dtype, c, e, x, weight, styles, y, room.mutable_data_ptr(), choice, context.stream);
  }

  static bool can_mask(const stylegan::Images& g) { return (g.channels_last ? g.channels : g.pixels) % 8 == 0; }
  static bool can_sum_channels(const stylegan::Images& g) { return g.channels_last && g.channels % 8 == 0; }
  static int64_t noise_parts(const stylegan::Images& g) { return stylegan::cuda::scale_act_noise_parts(g); }

  static bool can_mask(const stylegan::Fir& f) { return (f.channels_last ? f.channels : f.x.out) % 8 == 0; }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(stylegan_ops, CUDA, m) {
  stylegan::register_bias_act<Cuda>(m);
  stylegan::register_upfirdn2d<Cuda>(m);
  stylegan::register_filtered_lrelu<Cuda>(m);
  stylegan::register_scale_act<Cuda>(m);
  stylegan::register_modconv<Cuda>(m);
}
