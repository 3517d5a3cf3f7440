// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

namespace stylegan::cpu {

// parallel_for(count, grain, body): body(begin, end) over disjoint ranges that cover [0, count).
using ParallelFor = std::function<void(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>&)>;

}  // namespace stylegan::cpu
