// SPDX-License-Identifier: Apache-2.0
// How a block of the kernel brings its operands into shared memory.
#pragma once

#include <cstring>

#include "tensor_core_layer/cuda/tile.cuh"
#include "lib/cuda/tensor_core.cuh"

namespace stylegan::tensor_core_layer::cuda {
namespace {

constexpr uint32_t kOutside = ~0u >> 3;  // in the table of rows, instead of an offset

__device__ __forceinline__ float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// x as an operand of tensor cores.
template <class S> __device__ __forceinline__ S operand(float x) {
  if constexpr (sizeof(S) == 2)
    return narrow<S>(x);
  else
    return float_of(to_tf32(x));
}

// From 16 bytes on.
template <int V> __device__ __forceinline__ void load_wide(const float* p, float (&v)[V]) {
  static_assert(V % 4 == 0);
#pragma unroll
  for (int j = 0; j < V; j += 4) {
    const float4 four = *reinterpret_cast<const float4*>(p + j);
    v[j] = four.x, v[j + 1] = four.y, v[j + 2] = four.z, v[j + 3] = four.w;
  }
}

// A block's tile of pixels, and its samples of x in shared memory.
template <class S, int THREADS> struct Pixels {
  static constexpr int kRows = THREADS / kRowSegments;  // copied at a time

  const Gemm& g;
  uint32_t* table;  // row -> (offset of its channels in segments, or kOutside) * 8 + phase
  int n, oy, ox;    // of the first pixel; on the lattice that a phase of y makes if up
  int first, segment, count;  // rows first, first + kRows, ... < count: what this thread copies
  const S* from;              // where offsets begin, and the thread's segment there; may be before x

  __device__ __forceinline__ Pixels(const Gemm& g, const S* x, int tile, unsigned char* memory)
      : g(g), table(reinterpret_cast<uint32_t*>(memory)) {
    const int line = tile / g.tiles_x;
    ox = (tile - line * g.tiles_x) << g.log_w;
    n = line / g.tiles_y * g.slots;
    oy = line % g.tiles_y << g.log_h;
    first = static_cast<int>(threadIdx.x) / kRowSegments, segment = threadIdx.x % kRowSegments;
    count = g.slots * g.rows;
    const int64_t origin = (static_cast<int64_t>(n) * g.in_h + (oy - g.pad_y)) * g.in_w + (ox - g.pad_x);
    from = x + origin * g.in_channels + segment * kSegment<S>;
    keep(first), keep(segment), keep(from);
    for (int row = static_cast<int>(threadIdx.x); row < count; row += THREADS) {
      const int slot = g.slot_of(row), in_slot = row - slot * g.rows;
      const int hy = g.line_of(in_slot), hx = in_slot - hy * g.pitch, iy = oy - g.pad_y + hy, ix = ox - g.pad_x + hx;
      const bool inside = n + slot < g.samples && iy >= 0 && iy < g.in_h && ix >= 0 && ix < g.in_w;
      const uint32_t pixel = (static_cast<uint32_t>(slot) * g.in_h + hy) * g.in_w + hx;
      table[row] = (inside ? pixel * (g.in_channels / kSegment<S>) : kOutside) << 3 | pixel_phase(hx, hy);
    }
  }

  __device__ __forceinline__ void copy(unsigned char* to, int chunk) const {
    const int k = chunk * kChunk<S>;
    const bool exists = k + segment * kSegment<S> < g.in_channels;
#pragma unroll 2
    for (int row = first; row < count; row += kRows) {
      const uint32_t entry = table[row];
      copy_async16(to + swizzled(row, entry & 7, segment), from + k + static_cast<int64_t>(entry >> 3) * kSegment<S>,
                   exists && entry >> 3 != kOutside);
    }
  }

  // What this thread has copied, and what wait() waits for, becomes operands.
  template <class F> __device__ __forceinline__ void scale(unsigned char* to, int chunk, F&& wait) const {
    const int k = chunk * kChunk<S> + segment * kSegment<S>;
    const bool wanted = k < g.in_channels && (sizeof(S) > 2 || g.styles != nullptr);
    float s[kSegment<S>];
    for (float& one : s) one = 1;
    if (wanted && g.slots == 1) load_styles(0, k, s);
    wait();
    if (!wanted) return;
#pragma unroll 2
    for (int row = first; row < count; row += kRows) {
      const uint32_t entry = table[row];
      if (entry >> 3 == kOutside) continue;  // zeros
      if (g.slots > 1) load_styles(g.slot_of(row), k, s);
      uint4* const word = reinterpret_cast<uint4*>(to + swizzled(row, entry & 7, segment));
      Pack<S, kSegment<S>> pack;
      pack.words[0] = *word;
#pragma unroll
      for (int j = 0; j < kSegment<S>; ++j) pack.values[j] = operand<S>(widen(pack.values[j]) * s[j]);
      *word = pack.words[0];
    }
  }

  __device__ __forceinline__ void load_styles(int slot, int k, float (&s)[kSegment<S>]) const {
    if (g.styles != nullptr) load_wide(g.styles + static_cast<int64_t>(n + slot) * g.in_channels + k, s);
  }
};

// A block's filters, [N, chunk] of a tap at a time, one tap after the other.
template <class S, int N, int THREADS> struct Filters {
  static constexpr int kRows = THREADS / kRowSegments;  // copied at a time
  static_assert(N % kRows == 0);

  const S* from;  // of the first row that this thread copies
  int64_t rows;   // elements of kRows of them
  int exist;      // how many rows do from that one on
  int left;       // channels from the thread's segment on
  int to;         // byte in shared memory

  __device__ __forceinline__ Filters(const Gemm& g, const S* all, int tile, int chunk) {
    const int row = threadIdx.x / kRowSegments, segment = threadIdx.x % kRowSegments, first = tile * N + row;
    const int64_t size = static_cast<int64_t>(g.taps()) * g.in_channels;
    const int k = segment * kSegment<S> + chunk * kChunk<S>;
    from = all + first * size + k;
    rows = kRows * size;
    exist = g.columns() - first, left = g.in_channels - k;
    to = swizzled(row, row, segment);
    keep(from), keep(rows), keep(to);
  }

  __device__ __forceinline__ void copy(unsigned char* stage) const {
    const int limit = left > 0 ? exist : 0;
#pragma unroll
    for (int i = 0; i < N / kRows; ++i)  // kRows is a multiple of 8, so that the phase of a row stays
      copy_async16(stage + to + i * kRows * kRow, from + i * rows, i * kRows < limit);
  }

  __device__ __forceinline__ void next(const Gemm& g, bool chunk) {
    from += g.in_channels;
    if (chunk) from += kChunk<S> - g.taps() * g.in_channels, left -= kChunk<S>;
  }
};

}  // namespace
}  // namespace stylegan::tensor_core_layer::cuda
