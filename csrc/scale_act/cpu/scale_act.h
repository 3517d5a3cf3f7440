// SPDX-License-Identifier: Apache-2.0
// Before and after a modulated convolution, on a CPU.
#pragma once

#include "scale_act/params.h"
#include "lib/cpu/parallel.h"

namespace stylegan::cpu {

// y = clamp(u * slope), u = x * scale + noise + b; y may be x. With a mask, the elements of a plane (of a
// sample, for channels_last) are a multiple of kMaskBlock.
void scale_act(Dtype, const Images&, const FirEpilogue&, const void* x, void* y, const ParallelFor&);

// dx may be dy. The same of masks.
void scale_act_grad(Dtype, const Images&, const ScaleActGrad&, const void* dy, void* dx, const ParallelFor&);

}  // namespace stylegan::cpu
