// SPDX-License-Identifier: Apache-2.0
// warp_affine on a CPU.
#pragma once

#include "lib/cpu/parallel.h"
#include "lib/dtype.h"
#include "warp_affine/params.h"

namespace stylegan::warp_affine::cpu {

// x and y contiguous, of one dtype.
void run(Dtype, const Params&, const void* x, void* y, const stylegan::cpu::ParallelFor&);

}  // namespace stylegan::warp_affine::cpu
