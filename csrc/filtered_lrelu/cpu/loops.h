// SPDX-License-Identifier: Apache-2.0
// Included by filtered_lrelu_<isa>.cpp, in a namespace of its own, which says what Vector is, of kLanes floats, how many
// vectors of sums its registers hold, kSums, and STYLEGAN_TARGET, which allows the compiler these instructions.

#define STYLEGAN_INLINE STYLEGAN_TARGET STYLEGAN_ALWAYS_INLINE

constexpr int kVectors = kPixel / kLanes;  // of a pixel

STYLEGAN_INLINE Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
STYLEGAN_INLINE void store(float* p, const Vector& v) { *reinterpret_cast<Vector*>(p) = v; }

#include "filtered_lrelu/cpu/bits.h"
#include "filtered_lrelu/cpu/sums.h"
#include "filtered_lrelu/cpu/shifts.h"
#include "filtered_lrelu/cpu/activate.h"
#include "filtered_lrelu/cpu/layout.h"

const Kernels kKernels = {sum, sum_pair, {shift<1>, shift<2>, shift<4>}, activate, activate_pair, gather, to_pixels, to_rows};
