// SPDX-License-Identifier: Apache-2.0
#include "lib/cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace stylegan::cpu {

Isa supported(Isa isa) {
#if defined(__GNUC__) && defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return std::min(isa, avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::portable);
#else
  return std::min(isa, Isa::portable);
#endif
}

Isa best_isa() {
  static const Isa best = [] {
    const char* limit = std::getenv("ATEN_CPU_CAPABILITY");
    if (limit != nullptr && std::strcmp(limit, "default") == 0) return Isa::portable;
    return supported(limit != nullptr && std::strcmp(limit, "avx2") == 0 ? Isa::avx2 : Isa::avx512);
  }();
  return best;
}

}  // namespace stylegan::cpu
