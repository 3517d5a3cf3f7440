// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "filtered_lrelu/cpu/kernels.h"
#include "lib/cpu/simd/vector.h"

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>

namespace stylegan::filtered_lrelu::cpu {
namespace {

#define STYLEGAN_PLAIN_VECTORS 0
#define STYLEGAN_TARGET __attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw")))
#define STYLEGAN_LANES 16
constexpr int64_t kLanes = STYLEGAN_LANES;
constexpr int kSums = 16;  // of 32 registers
typedef float Vector __attribute__((vector_size(64), may_alias, aligned(4)));
#include "filtered_lrelu/cpu/loops.h"

}  // namespace

const Kernels* avx512_kernels() { return &kKernels; }

}  // namespace stylegan::filtered_lrelu::cpu

#else

namespace stylegan::filtered_lrelu::cpu {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace stylegan::filtered_lrelu::cpu

#endif
