// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "filtered_lrelu/cpu/kernels.h"
#include "lib/cpu/simd/vector.h"

#if !defined(STYLEGAN_PLAIN_VECTORS)
#if defined(__GNUC__)
#define STYLEGAN_PLAIN_VECTORS 0
#else
#define STYLEGAN_PLAIN_VECTORS 1
#endif
#endif

namespace stylegan::filtered_lrelu::cpu {
namespace {

#define STYLEGAN_TARGET
#define STYLEGAN_LANES 4
constexpr int64_t kLanes = STYLEGAN_LANES;
constexpr int kSums = 8;  // of 16 registers
#if STYLEGAN_PLAIN_VECTORS
using Vector = stylegan::cpu::PlainVector<4>;
#else
typedef float Vector __attribute__((vector_size(16), may_alias, aligned(4)));
#endif
#include "filtered_lrelu/cpu/loops.h"

}  // namespace

const Kernels* portable_kernels() { return &kKernels; }

}  // namespace stylegan::filtered_lrelu::cpu
