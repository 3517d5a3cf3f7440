// SPDX-License-Identifier: Apache-2.0
// Instruction sets that some loops are compiled for. One is chosen at run time.
#pragma once

namespace stylegan::cpu {

enum class Isa : int { portable, avx2, avx512 };

// The best instruction set of this CPU, but no better than `isa`.
Isa supported(Isa isa);

// The instruction set that PyTorch uses: the best of this CPU, limited by ATEN_CPU_CAPABILITY (default, avx2).
Isa best_isa();

}  // namespace stylegan::cpu
