// SPDX-License-Identifier: Apache-2.0
// The gradient of a convolution w.r.t. its weight, on a CPU.
#pragma once

#include "lib/cpu/parallel.h"
#include "weight_grad/params.h"

namespace stylegan::weight_grad::cpu {

using namespace stylegan::cpu;  // lib/cpu

// dw[o, i, ky, kx] = sum over n, y, x of dy[n, o, y, x] * x[n, i, y * stride + ky - pad_y, x * stride + kx - pad_x];
// float32, x and dy channels_last, dw contiguous.
void run(const Params&, const float* x, const float* dy, float* dw, const ParallelFor&);

}  // namespace stylegan::weight_grad::cpu
