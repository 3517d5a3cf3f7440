// SPDX-License-Identifier: Apache-2.0
// filtered_lrelu on a CPU.
#pragma once

#include "filtered_lrelu/params.h"
#include "lib/cpu/isa.h"
#include "lib/cpu/parallel.h"
#include "lib/dtype.h"

namespace stylegan::filtered_lrelu::cpu {

using namespace stylegan::cpu;  // lib/cpu

// x and y dense in the layout of the parameters, of one dtype, not float64.
void run(Dtype, const Params&, Isa, const void* x, void* y, const ParallelFor&);

}  // namespace stylegan::filtered_lrelu::cpu
