// SPDX-License-Identifier: Apache-2.0
// upfirdn2d on a CPU.
#pragma once

#include "lib/fir.h"
#include "lib/cpu/parallel.h"

namespace stylegan::cpu {

// x and y dense in the layout that the Fir names, of one dtype. epilogue: null, or what to do with y;
// with a mask, the elements of a plane (of a sample, for channels_last) are a multiple of kMaskBlock.
void upfirdn2d(Dtype, const Fir&, const FirEpilogue* epilogue, const void* x, void* y, const ParallelFor&);

}  // namespace stylegan::cpu
