// SPDX-License-Identifier: Apache-2.0
// Instruction sets for which some loops exist of their own, chosen at run time.
#pragma once

namespace stylegan::cpu {

enum class Isa : int { portable, avx2, avx512 };

// The best that this CPU has, but no better than `isa`.
Isa supported(Isa isa);

// The best that PyTorch takes: this CPU's, which ATEN_CPU_CAPABILITY (default, avx2) limits.
Isa best_isa();

}  // namespace stylegan::cpu
