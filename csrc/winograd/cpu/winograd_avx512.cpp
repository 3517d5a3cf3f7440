// SPDX-License-Identifier: Apache-2.0
#include "lib/cpu/simd/vector.h"
#include "winograd/cpu/kernels.h"

#if defined(__GNUC__) && defined(__x86_64__)

namespace stylegan::winograd::cpu {
namespace {

#define STYLEGAN_PLAIN_VECTORS 0
#define STYLEGAN_TARGET __attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw")))
constexpr int64_t kLanes = 16;
constexpr int kRows = 12;  // of 32 registers: 24 sums, 2 of u
typedef float Vector __attribute__((vector_size(64), may_alias, aligned(4)));
#include "winograd/cpu/loops.h"

}  // namespace

const Kernels* avx512_kernels() { return &kKernels; }

}  // namespace stylegan::winograd::cpu

#else

namespace stylegan::winograd::cpu {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace stylegan::winograd::cpu

#endif
