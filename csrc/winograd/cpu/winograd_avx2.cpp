// SPDX-License-Identifier: Apache-2.0
#include "lib/cpu/simd/vector.h"
#include "winograd/cpu/kernels.h"

#if defined(__GNUC__) && defined(__x86_64__)

namespace stylegan::winograd::cpu {
namespace {

#define STYLEGAN_PLAIN_VECTORS 0
#define STYLEGAN_TARGET __attribute__((target("avx2,fma")))
constexpr int64_t kLanes = 8;
constexpr int kRows = 6;  // of 16 registers: 12 sums, 2 of u
typedef float Vector __attribute__((vector_size(32), may_alias, aligned(4)));
#include "winograd/cpu/loops.h"

}  // namespace

const Kernels* avx2_kernels() { return &kKernels; }

}  // namespace stylegan::winograd::cpu

#else

namespace stylegan::winograd::cpu {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace stylegan::winograd::cpu

#endif
