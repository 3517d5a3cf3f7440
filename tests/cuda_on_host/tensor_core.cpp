// SPDX-License-Identifier: Apache-2.0
// Tensor-core instructions: the first lane that goes on after all have met works for all.
#pragma GCC optimize("O3")
#include <algorithm>

#include "harness.h"

namespace cuda_on_host {
namespace {

using Row = float __attribute__((vector_size(32)));  // 8 columns

// What a lane brings; the arrays live until it goes on.
struct Lane {
  const void* call;  // the place in the kernel
  uint32_t* r;       // of ldmatrix
  const void* row;
  float* d;  // of mma
  const uint32_t *a, *b;
  bool done;
};

// The lanes of the warp, or null where the work is done.
const Lane* const* all_lanes(const void* kind, Lane& own, const Lane* (&lanes)[warpSize]) {
  const Lanes& met = everyone(kind, to_bits(&own));
  if (own.done) return nullptr;
  for (int i = 0; i < warpSize; ++i) {
    Lane* lane;
    std::memcpy(&lane, &met.value[i], sizeof lane);
    if (lane->call != own.call) fail("the lanes of a warp are at different calls of one instruction");
    lane->done = true;
    lanes[i] = lane;
  }
  return lanes;
}

template <bool kTransposed> void load_matrix(uint32_t (&r)[4], const void* row, const void* call) {
  static const char kind = 0;
  const Lane* lanes[warpSize];
  Lane own{call, r, row, nullptr, nullptr, nullptr, false};
  if (all_lanes(&kind, own, lanes) == nullptr) return;
  ++counts.reads;
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t x[8][8];
    const void* seen[8][8];  // rows of each group of banks: the same row again costs nothing
    int different[8] = {};
    for (int i = 0; i < 8; ++i) {
      const void* p = lanes[8 * matrix + i]->row;
      const int group = check_row(p);
      const void** end = seen[group] + different[group];
      if (std::find(seen[group], end, p) == end) *end = p, ++different[group];
      std::memcpy(x[i], p, sizeof x[i]);
    }
    counts.read_conflicts += *std::max_element(different, different + 8) - 1;
    for (int lane = 0; lane < warpSize; ++lane) {
      const int i = lane / 4, j = lane % 4 * 2;
      const uint32_t low = kTransposed ? x[j][i] : x[i][j], high = kTransposed ? x[j + 1][i] : x[i][j + 1];
      lanes[lane]->r[matrix] = low | high << 16;
    }
  }
}

float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

struct Half {
  static float widen(uint32_t bits) {
    const uint32_t rest = (bits & 0x7FFF) << 13, sign = (bits & 0x8000) << 16;
    const bool finite = (bits & 0x7C00) != 0x7C00;
    const float size = finite ? from_bits(rest) * 0x1p112f : from_bits(rest | 0x7F800000);  // subnormals too
    return sign != 0 ? -size : size;
  }
};
struct Bfloat16 {
  static float widen(uint32_t bits) { return from_bits(bits << 16); }
};

// d += a * b, with lane's part of d in rows lane / 4 and lane / 4 + 8.
template <int K> void multiply(const Lane* const* lanes, const float (&a)[16][K], const float (&b)[K][8]) {
  ++counts.products;
  Row d[16];
  for (int lane = 0; lane < warpSize; ++lane)
    for (int i = 0; i < 4; ++i) d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = lanes[lane]->d[i];
  Row rows[K];
  std::memcpy(rows, b, sizeof rows);
  for (int i = 0; i < 16; ++i) {
    Row sum = d[i];
    for (int k = 0; k < K; ++k) sum += a[i][k] * rows[k];
    d[i] = sum;
  }
  for (int lane = 0; lane < warpSize; ++lane)
    for (int i = 0; i < 4; ++i) lanes[lane]->d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

template <class Stored> void mma16(float* d, const uint32_t* a, const uint32_t* b, const void* call) {
  static const char kind = 0;
  const Lane* lanes[warpSize];
  Lane own{call, nullptr, nullptr, d, a, b, false};
  if (all_lanes(&kind, own, lanes) == nullptr) return;
  float x[16][16], y[16][8];
  for (int lane = 0; lane < warpSize; ++lane) {
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int i = 0; i < 8; ++i) {  // a0 to a7
      const uint32_t bits = lanes[lane]->a[i / 2] >> i % 2 * 16 & 0xFFFF;
      x[group + i / 2 % 2 * 8][pair + i % 2 + i / 4 * 8] = Stored::widen(bits);
    }
    for (int i = 0; i < 4; ++i) {
      const uint32_t bits = lanes[lane]->b[i / 2] >> i % 2 * 16 & 0xFFFF;
      y[pair + i % 2 + i / 2 * 8][group] = Stored::widen(bits);
    }
  }
  multiply(lanes, x, y);
}

}  // namespace

// The place in the kernel is where these return to.
void load_matrix_x4(uint32_t (&r)[4], const void* row) { load_matrix<false>(r, row, __builtin_return_address(0)); }
void load_matrix_x4_trans(uint32_t (&r)[4], const void* row) { load_matrix<true>(r, row, __builtin_return_address(0)); }

template <> void mma_m16n8k16<__half>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma16<Half>(d, a, b, __builtin_return_address(0));
}
template <> void mma_m16n8k16<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma16<Bfloat16>(d, a, b, __builtin_return_address(0));
}

void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static const char kind = 0;
  const Lane* lanes[warpSize];
  Lane own{__builtin_return_address(0), nullptr, nullptr, d, a, b, false};
  if (all_lanes(&kind, own, lanes) == nullptr) return;
  constexpr uint32_t kKept = 0xFFFFE000;
  float x[16][8], y[8][8];
  for (int lane = 0; lane < warpSize; ++lane) {
    const int group = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) x[group + i % 2 * 8][t + i / 2 * 4] = from_bits(lanes[lane]->a[i] & kKept);
    for (int i = 0; i < 2; ++i) y[t + i * 4][group] = from_bits(lanes[lane]->b[i] & kKept);
  }
  multiply(lanes, x, y);
}

uint32_t to_tf32(float x) {
  if (std::isnan(x)) return 0x7FFFFFFF;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return (bits + (std::isinf(x) ? 0 : 0x1000)) & 0xFFFFE000;
}

}  // namespace cuda_on_host
