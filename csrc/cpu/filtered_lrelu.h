// SPDX-License-Identifier: Apache-2.0
// filtered_lrelu on a CPU.
#pragma once

#include "../common/filtered_lrelu.h"
#include "isa.h"
#include "parallel.h"

namespace stylegan::cpu {

// x and y dense in the layout that the FilteredLrelu names, of one dtype, not float64.
void filtered_lrelu(Dtype, const FilteredLrelu&, Isa, const void* x, void* y, const ParallelFor&);

}  // namespace stylegan::cpu
