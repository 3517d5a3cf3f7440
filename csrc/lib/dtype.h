// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace stylegan {

enum class Dtype : int { float16, bfloat16, float32, float64 };

}  // namespace stylegan
