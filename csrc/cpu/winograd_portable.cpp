// SPDX-License-Identifier: Apache-2.0
#include "vector.h"
#include "winograd_kernels.h"

namespace stylegan::cpu {
namespace {
#define STYLEGAN_TARGET
constexpr int64_t kLanes = 4;
constexpr int kRows = 6;
typedef float Vector __attribute__((vector_size(16), may_alias, aligned(4)));
#include "winograd_loops.h"
}  // namespace
const WinogradKernels* winograd_portable() { return &kKernels; }
}  // namespace stylegan::cpu
