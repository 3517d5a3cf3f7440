// SPDX-License-Identifier: Apache-2.0
// upfirdn2d on a CPU.
#pragma once

#include "upfirdn2d/params.h"
#include "lib/cpu/parallel.h"
#include "lib/dtype.h"
#include "lib/epilogue.h"

namespace stylegan::upfirdn2d::cpu {

using namespace stylegan::cpu;  // lib/cpu

// x and y dense in the layout of the Fir, of one dtype. epilogue: null, or what to do with y;
// with a mask, the elements of a plane (of a sample, for channels_last) are a multiple of kMaskBlock.
void run(Dtype, const Fir&, const Epilogue* epilogue, const void* x, void* y, const ParallelFor&);

}  // namespace stylegan::upfirdn2d::cpu
