// SPDX-License-Identifier: Apache-2.0
// The op fir_act: upfirdn2d's kernels without resampling, with an epilogue in the same pass.
#pragma once

#include "lib/epilogue_tensors.h"
#include "lib/op.h"
#include "upfirdn2d/ops.h"

namespace stylegan::fir_act {

using upfirdn2d::FirTensors;

// The arguments of a FIR filter without resampling, as upfirdn2d takes them.
inline upfirdn2d::Call fir_call(const Tensor& x, const std::optional<Tensor>& f, const std::vector<int64_t>& origin,
                                const std::vector<int64_t>& size, bool flip, double gain) {
  return {x, f, {1, 1}, {1, 1}, origin, size, flip, gain};
}

template <class Device> void run(FirTensors& t, const EpilogueTensors& e) {
  if (t.y.numel() == 0) return;
  STD_TORCH_CHECK(e.epilogue.planes == 0 || Device::can_mask(t.fir), "fir_act: there is no mask for this shape");
  const typename Device::Context context(t.x);
  Device::upfirdn2d(dtype_of(t.x), t.fir, &e.epilogue, t.x.const_data_ptr(), t.y.mutable_data_ptr(), context);
}

struct Call {
  Tensor x;
  std::optional<Tensor> f;
  std::vector<int64_t> origin;  // x, y
  std::vector<int64_t> size;    // of y: height, width
  bool flip;
  double fir_gain;
  EpilogueVectors vectors;
  SlopesAndClamp activation;
  int64_t planes;
};

// v = fir * scale[n, c] + noise[n, 0, h, w] + b[c], y = clamp(v * (v > 0 ? positive : negative)).
// Returns y and a mask of `planes` planes for bias_act_mask_grad.
template <class Device> std::tuple<Tensor, Tensor> forward(Call call) {
  const char* op = "fir_act";
  FirTensors t(op, fir_call(call.x, call.f, call.origin, call.size, call.flip, call.fir_gain));
  const EpilogueTensors e(op, t.x, call.size[0], call.size[1], call.vectors, call.activation, call.planes);
  run<Device>(t, e);
  return {t.y, e.mask};
}

struct OutCall {
  Tensor x;
  std::optional<Tensor> f;
  std::vector<int64_t> origin;  // x, y
  bool flip;
  double fir_gain;
  EpilogueVectors vectors;
  SlopesAndClamp activation;
  Tensor y;
};

// The same into y.
template <class Device> void forward_out(OutCall call) {
  const char* op = "fir_act_out";
  STD_TORCH_CHECK(call.y.dim() == 4, op, ": y must be [N, C, H, W]");
  const int64_t height = call.y.size(2), width = call.y.size(3);
  FirTensors t(op, fir_call(call.x, call.f, call.origin, {height, width}, call.flip, call.fir_gain), call.y);
  const EpilogueTensors e(op, t.x, height, width, call.vectors, call.activation, 0);
  run<Device>(t, e);
}

template <class Device> void implement_ops(Library& m) {
  implement_with_raw<&forward<Device>>(m, "fir_act");
  implement<&forward_out<Device>>(m, "fir_act_out");
}

}  // namespace stylegan::fir_act
