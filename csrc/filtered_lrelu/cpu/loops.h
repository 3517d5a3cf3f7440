// SPDX-License-Identifier: Apache-2.0
// Included by filtered_lrelu_<isa>.cpp, in a namespace of its own. The includer defines Vector, of kLanes floats,
// kSums, the vectors of sums that its registers hold, and STYLEGAN_TARGET, which allows the compiler these
// instructions.

#include "lib/cpu/simd/lanes.h"

constexpr int kVectors = kPixel / kLanes;  // of a pixel

#include "filtered_lrelu/cpu/bits.h"
#include "filtered_lrelu/cpu/sums.h"
#include "filtered_lrelu/cpu/shifts.h"
#include "filtered_lrelu/cpu/activate.h"
#include "filtered_lrelu/cpu/layout.h"

const Kernels kKernels = {
    sum, sum_pair, {shift<1>, shift<2>, shift<4>}, activate, activate_pair, gather, to_pixels, to_rows,
};
