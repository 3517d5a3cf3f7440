// SPDX-License-Identifier: Apache-2.0
// The ops before and after a modulated convolution, on a CPU.
#pragma once

#include "scale_act/params.h"
#include "lib/cpu/parallel.h"
#include "lib/dtype.h"

namespace stylegan::scale_act::cpu {

using namespace stylegan::cpu;  // lib/cpu

// y = clamp(u * slope), u = x * scale + noise + b; y may be x. With a mask, the elements of a plane (of a
// sample, for channels_last) are a multiple of kMaskBlock.
void forward(Dtype, const Images&, const Epilogue&, const void* x, void* y, const ParallelFor&);

// dx may be dy. The same holds for masks.
void grad(Dtype, const Images&, const GradParams&, const void* dy, void* dx, const ParallelFor&);

}  // namespace stylegan::scale_act::cpu
