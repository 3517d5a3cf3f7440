// SPDX-License-Identifier: Apache-2.0
// bias_act on a CPU. x, y, dy, dx, ... are dense, of one dtype and one layout; b, e, db and the like
// hold one float per channel (double for float64), or are null. The math: stylegan_ops, bias_act.py.
#pragma once

#include "bias_act/params.h"
#include "lib/cpu/parallel.h"
#include "lib/dtype.h"

namespace stylegan::bias_act::cpu {

using namespace stylegan::cpu;  // lib/cpu

// y = clamp(act(x + b) * gain). mask: null, or the planes of signs for mask_grad.
void forward(Dtype, ActParams, Channels, const void* x, const void* b, void* y, uint8_t* mask, const ParallelFor&);

// dx = (dy + e) * slope, db = sum of dx. mask: null if the slope is `positive` everywhere.
void mask_grad(Dtype, Slopes, bool has_clamp, Channels, const void* dy, const void* e, const uint8_t* mask, void* dx,
               void* db, const ParallelFor&);

// dx = dy * slope(x + b), db = sum of dx; smooth activations.
void grad(Dtype, ActParams, Channels, const void* dy, const void* x, const void* b, void* dx, void* db,
          const ParallelFor&);

// With v = ddx + ddb: d_dy = v * slope(x + b), d_x = v * dy * curvature(x + b), d_b = sum of d_x.
void grad_grad(Dtype, ActParams, Channels, const void* ddx, const void* ddb, const void* dy, const void* x,
               const void* b, void* d_dy, void* d_x, void* d_b, const ParallelFor&);

}  // namespace stylegan::bias_act::cpu
