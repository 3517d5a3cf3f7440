// SPDX-License-Identifier: Apache-2.0
// Blocks of 512 elements: between memory and buffers, and over all threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "bias_act/cpu/channels.h"
#include "lib/cpu/convert.h"
#include "lib/cpu/parallel.h"

namespace stylegan::bias_act::cpu {

constexpr int64_t kGrainBlocks = 64;          // 32768 elements, PyTorch's own grain
constexpr int64_t kMaxChunks = 64;            // of a sum; enough for as many threads

// dst = src[first..first+count) for at most a block, the rest set to 0.
template <class C> void load(Dtype dtype, const void* src, int64_t first, int64_t count, C* dst) {
  widen(dtype, src, first, count, dst);
  for (int64_t i = count; i < kMaskBlock; ++i) dst[i] = 0;
}

// A whole block that is stored in the dtype of arithmetic is used without a copy; others pass through a buffer.
template <class C> bool in_place(Dtype dtype, int64_t count) { return count == kMaskBlock && is_stored<C>(dtype); }

template <class C> const C* input_block(Dtype dtype, const void* src, int64_t first, int64_t count, C* buffer) {
  if (in_place<C>(dtype, count)) return static_cast<const C*>(src) + first;
  load(dtype, src, first, count, buffer);
  return buffer;
}

// Where to put the results of a block; finish_block() must follow.
template <class C> C* output_block(Dtype dtype, void* dst, int64_t first, int64_t count, C* buffer) {
  return in_place<C>(dtype, count) ? static_cast<C*>(dst) + first : buffer;
}

template <class C> void finish_block(Dtype dtype, void* dst, int64_t first, int64_t count, const C* results) {
  if (!in_place<C>(dtype, count)) store(dtype, dst, first, count, results);
}

// The buffers of a body.
template <class C> struct Buffers {
  alignas(64) C in[3][kBlock], sum[2][kBlock], out[2][kBlock];
};

// Runs body(first, count, buffers) over all blocks. The body returns a pointer to a block, which is summed by channel
// into `sums` (null: nothing is summed).
template <class C, class Body>
void for_blocks(Channels channels, void* sums, const ParallelFor& parallel_for, const Body& body) {
  const int64_t size = channels.size, blocks = (size + kBlock - 1) / kBlock;
  auto extent = [&](int64_t block) { return std::min(kBlock, size - block * kBlock); };
  if (sums == nullptr) {
    return parallel_for(blocks, kGrainBlocks, [&](int64_t begin, int64_t end) {
      Buffers<C> buffers;
      for (int64_t block = begin; block < end; ++block) body(block * kBlock, extent(block), buffers);
    });
  }
  // The sums take at most a quarter of the size of what is summed, for any number of channels.
  const int64_t useful = std::min(blocks / kGrainBlocks, size / (4 * channels.channels));
  const int64_t chunks = std::clamp<int64_t>(useful, 1, kMaxChunks);
  const Pattern pattern(channels);
  std::vector<double> partial(chunks * channels.channels);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    Buffers<C> buffers;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      ChannelSum<C> sum(pattern);
      for (int64_t block = blocks * chunk / chunks; block < blocks * (chunk + 1) / chunks; ++block) {
        sum.add(block * kBlock, extent(block), body(block * kBlock, extent(block), buffers));
      }
      sum.store(partial.data() + chunk * channels.channels);
    }
  });
  for (int64_t c = 0; c < channels.channels; ++c) {
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) total += partial[chunk * channels.channels + c];
    static_cast<C*>(sums)[c] = static_cast<C>(total);
  }
}

}  // namespace stylegan::bias_act::cpu
