// SPDX-License-Identifier: Apache-2.0
// Floats that begin with a cache line: a vector across two lines takes twice as long to load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stylegan::cpu {

constexpr int64_t kLineFloats = 16;  // of a cache line

// The first float at or after p that begins a cache line.
inline float* align_to_line(float* p) {
  const int64_t beyond = static_cast<int64_t>(reinterpret_cast<uintptr_t>(p) / sizeof(float)) % kLineFloats;
  return p + (kLineFloats - beyond) % kLineFloats;
}

// A fixed number of floats, zeros at first.
class AlignedFloats {
 public:
  explicit AlignedFloats(int64_t size) : memory_(size + kLineFloats), data_(align_to_line(memory_.data())) {}
  AlignedFloats(const AlignedFloats&) = delete;
  AlignedFloats& operator=(const AlignedFloats&) = delete;
  float* data() { return data_; }

 private:
  std::vector<float> memory_;
  float* data_;
};

// Memory that is handed out in parts, one after another. It grows with the largest task and is kept between tasks.
class Arena {
 public:
  // Takes back all parts; `size` floats, all zeros, may be taken next.
  void reset(int64_t size) {
    memory_.assign(size + kLineFloats, 0.0f);
    next_ = align_to_line(memory_.data());
  }
  // Begins with a cache line if all parts before are whole lines.
  float* take(int64_t size) {
    float* const part = next_;
    next_ += size;
    return part;
  }

 private:
  std::vector<float> memory_;
  float* next_ = nullptr;
};

}  // namespace stylegan::cpu
