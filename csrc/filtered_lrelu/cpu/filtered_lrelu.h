// SPDX-License-Identifier: Apache-2.0
// filtered_lrelu on a CPU.
#pragma once

#include "filtered_lrelu/params.h"
#include "lib/cpu/isa.h"
#include "lib/cpu/parallel.h"

namespace stylegan::cpu {

// x and y dense in the layout that the FilteredLrelu names, of one dtype, not float64.
void filtered_lrelu(Dtype, const FilteredLrelu&, Isa, const void* x, void* y, const ParallelFor&);

}  // namespace stylegan::cpu
