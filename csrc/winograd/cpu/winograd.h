// SPDX-License-Identifier: Apache-2.0
// 3x3 convolutions by minimal filtering (Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308), with what
// comes before and after them in a StyleGAN2 layer, on a CPU.
#pragma once

#include "lib/epilogue.h"
#include "lib/cpu/isa.h"
#include "lib/cpu/parallel.h"
#include "winograd/params.h"

namespace stylegan::winograd::cpu {

using namespace stylegan::cpu;  // lib/cpu

// Floats of the transformed weights.
int64_t weights_size(const Filters&);
void transform_weights(const Filters&, Isa, const float* w, float* u, const ParallelFor&);

// The size of the workspace of a convolution in floats. threads: how many parallel_for may use.
int64_t workspace_size(const Convolution&, int64_t threads);

// y = epilogue(convolution of x * styles); float32, x and y channels_last, styles [samples, in_channels] or null for
// 1, u from transform_weights, the mask of the epilogue null. The same bits for any number of threads.
void convolve(const Convolution&, Isa, const Epilogue&, const float* x, const float* styles, const float* u, float* y,
              float* workspace, int64_t threads, const ParallelFor&);

// The gradient of `form` tile2, tile4 or down w.r.t. the weight, [out_channels, in_channels, 3, 3]: dw[o, i, ky, kx] =
// sum of dy[o] x[i] over what w[o, i, ky, kx] multiplies. The same bits for any number of threads. That of `up` is that
// of `down` with x and dy exchanged.
int64_t grad_workspace_size(const Convolution&);
void weight_grad(const Convolution&, Isa, const float* x, const float* dy, float* dw, float* workspace,
                 const ParallelFor&);

}  // namespace stylegan::winograd::cpu
