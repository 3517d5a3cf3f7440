// SPDX-License-Identifier: Apache-2.0
#include "lib/cpu/simd/vector.h"
#include "winograd/cpu/kernels.h"

#if !defined(STYLEGAN_PLAIN_VECTORS)
#if defined(__GNUC__)
#define STYLEGAN_PLAIN_VECTORS 0
#else
#define STYLEGAN_PLAIN_VECTORS 1
#endif
#endif

namespace stylegan::winograd::cpu {
namespace {

#define STYLEGAN_TARGET
constexpr int64_t kLanes = 4;
constexpr int kRows = 6;  // of 16 registers: 12 sums, 2 of u
#if STYLEGAN_PLAIN_VECTORS
using Vector = stylegan::cpu::PlainVector<4>;
#else
typedef float Vector __attribute__((vector_size(16), may_alias, aligned(4)));
#endif
#include "winograd/cpu/loops.h"

}  // namespace

const Kernels* portable_kernels() { return &kKernels; }

}  // namespace stylegan::winograd::cpu
