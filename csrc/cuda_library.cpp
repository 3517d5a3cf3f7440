// SPDX-License-Identifier: Apache-2.0
// The kernels for GPUs, registered as ops.
#include <torch/csrc/stable/accelerator.h>

#include "bias_act/cuda/bias_act.cuh"
#include "bias_act/ops.h"
#include "filtered_lrelu/cuda/filtered_lrelu.cuh"
#include "filtered_lrelu/ops.h"
#include "fir_act/ops.h"
#include "scale_act/cuda/scale_act.cuh"
#include "scale_act/ops.h"
#include "tensor_core_layer/cuda/tensor_core_layer.cuh"
#include "tensor_core_layer/ops.h"
#include "upfirdn2d/cuda/upfirdn2d.cuh"
#include "upfirdn2d/ops.h"
#include "warp_affine/cuda/warp_affine.cuh"
#include "warp_affine/ops.h"

namespace {

using stylegan::Dtype;
using stylegan::Tensor;

struct Cuda {
  // The device of x, and the stream that torch is on.
  struct Context {
    explicit Context(const Tensor& x) : x(x), guard(x.get_device_index()) {
      void* current = nullptr;
      TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &current));
      stream = static_cast<cudaStream_t>(current);
    }
    // Memory for `size` numbers in the dtype of arithmetic. The allocator keeps it until the stream is done with it.
    Tensor workspace(int64_t size) const { return stylegan::empty_vector(x, size, stylegan::arithmetic_type(x)); }

    const Tensor& x;
    torch::stable::accelerator::DeviceGuard guard;
    cudaStream_t stream;
  };

  using ActParams = stylegan::bias_act::ActParams;
  using Channels = stylegan::bias_act::Channels;

  static Tensor partial(const void* db, Channels c, const Context& context) {
    return context.workspace(db == nullptr ? 0 : stylegan::bias_act::cuda::partial_size(c));
  }

  static void bias_act(Dtype dtype, ActParams p, Channels c, const void* x, const void* b, void* y, uint8_t* mask,
                       const Context& context) {
    stylegan::bias_act::cuda::forward(dtype, p, c, x, b, y, mask, context.stream);
  }

  static void bias_act_mask_grad(Dtype dtype, stylegan::Slopes slopes, bool has_clamp, Channels c, const void* dy,
                                 const void* e, const uint8_t* mask, void* dx, void* db, const Context& context) {
    const Tensor sums = partial(db, c, context);
    stylegan::bias_act::cuda::mask_grad(dtype, slopes, has_clamp, c, dy, e, mask, dx, db, sums.mutable_data_ptr(),
                                        context.stream);
  }

  static void bias_act_grad(Dtype dtype, ActParams p, Channels c, const void* dy, const void* x, const void* b,
                            void* dx, void* db, const Context& context) {
    const Tensor sums = partial(db, c, context);
    stylegan::bias_act::cuda::grad(dtype, p, c, dy, x, b, dx, db, sums.mutable_data_ptr(), context.stream);
  }

  static void bias_act_grad_grad(Dtype dtype, ActParams p, Channels c, const void* ddx, const void* ddb, const void* dy,
                                 const void* x, const void* b, void* d_dy, void* d_x, void* d_b,
                                 const Context& context) {
    const Tensor sums = partial(d_b, c, context);
    stylegan::bias_act::cuda::grad_grad(dtype, p, c, ddx, ddb, dy, x, b, d_dy, d_x, d_b, sums.mutable_data_ptr(),
                                        context.stream);
  }

  static void upfirdn2d(Dtype dtype, const stylegan::upfirdn2d::Fir& fir, const stylegan::Epilogue* epilogue,
                        const void* x, void* y, const Context& context) {
    stylegan::upfirdn2d::cuda::run(dtype, fir, epilogue, x, y, context.stream);
  }
  static bool can_mask(const stylegan::upfirdn2d::Fir& f) { return (f.channels_last ? f.channels : f.x.out) % 8 == 0; }

  static void filtered_lrelu(Dtype dtype, const stylegan::filtered_lrelu::Params& p, const void* x, void* y,
                             const Context& context) {
    stylegan::filtered_lrelu::cuda::run(dtype, p, x, y, context.stream);
  }

  static void warp_affine(Dtype dtype, const stylegan::warp_affine::Params& p, const void* x, void* y,
                          const Context& context) {
    const Tensor workspace = context.workspace(stylegan::warp_affine::cuda::workspace_size(p));
    stylegan::warp_affine::cuda::run(dtype, p, x, y, workspace.mutable_data_ptr(), context.stream);
  }

  using Images = stylegan::scale_act::Images;
  static void scale_act(Dtype dtype, const Images& images, const stylegan::Epilogue& e, const void* x, void* y,
                        const Context& context) {
    stylegan::scale_act::cuda::forward(dtype, images, e, x, y, context.stream);
  }
  static void scale_act_grad(Dtype dtype, const Images& images, const stylegan::scale_act::GradParams& p,
                             const void* dy, void* dx, const Context& context) {
    const bool sums = p.products != nullptr || p.sums != nullptr;
    const Tensor partial = context.workspace(sums ? stylegan::scale_act::cuda::partial_size(images) : 0);
    stylegan::scale_act::cuda::grad(dtype, images, p, dy, dx, partial.mutable_data_ptr(), context.stream);
  }
  static bool can_mask(const Images& g) { return (g.channels_last ? g.channels : g.pixels) % 8 == 0; }
  static bool can_sum_channels(const Images& g) { return g.channels_last && g.channels % 8 == 0; }
  static int64_t noise_parts(const Images& g) { return stylegan::scale_act::cuda::noise_parts(g); }

  using Operands = stylegan::tensor_core_layer::Operands;
  using Choice = stylegan::tensor_core_layer::Choice;
  static void tensor_core_layer(Dtype dtype, const stylegan::tensor_core_layer::Convolution& c,
                                const stylegan::Epilogue& e, const Operands& operands, void* y, Choice wanted,
                                const Context& context) {
    namespace cuda = stylegan::tensor_core_layer::cuda;
    STD_TORCH_CHECK(cuda::gpu_supported(), "tensor_core_layer: needs a GPU of compute capability 8.0 or more");
    STD_TORCH_CHECK(cuda::supports(dtype, c), "tensor_core_layer: the kernel does not take this shape or dtype");
    const int variants = cuda::variants(dtype);
    STD_TORCH_CHECK(wanted.variant < variants, "tensor_core_layer: variant must be less than ", variants, ", got ",
                    wanted.variant);
    const Choice choice = cuda::choose(dtype, c, wanted);
    const Tensor workspace =
        stylegan::empty_vector(context.x, cuda::workspace_size(c, choice), stylegan::ScalarType::Float);
    cuda::run(dtype, c, e, operands, y, workspace.mutable_data_ptr(), choice, context.stream);
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(stylegan_ops, CUDA, m) {
  stylegan::bias_act::implement_ops<Cuda>(m);
  stylegan::upfirdn2d::implement_ops<Cuda>(m);
  stylegan::fir_act::implement_ops<Cuda>(m);
  stylegan::filtered_lrelu::implement_ops<Cuda>(m);
  stylegan::scale_act::implement_ops<Cuda>(m);
  stylegan::tensor_core_layer::implement_ops<Cuda>(m);
  stylegan::warp_affine::implement_ops<Cuda>(m);
}
