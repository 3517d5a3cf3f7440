// SPDX-License-Identifier: Apache-2.0
// The kernel of bias_act's backward: walks through memory, and sums by channel. See bias_act.cu.
#pragma once

#include <algorithm>

#include "bias_act/cuda/grad_bodies.cuh"
#include "lib/cuda/launch.cuh"
#include "lib/cuda/reduce.cuh"
#include "lib/integer.h"

namespace stylegan::bias_act::cuda {
namespace {

constexpr int kThreads = 256;          // 8 warps
constexpr int kBlocksPerSM = 2;  // at least; with 3 (80 registers a thread) the smooth second derivatives spill
constexpr int64_t kStepsPerSlice = 8;  // groups a thread takes before the cost of adding across threads
constexpr int64_t kMaxSlices = 1024;  // per channel or tile; beyond that, more steps
constexpr int kTile = 32;  // groups of channels side by side: 512 bytes of a 16-bit dtype

// How a backward walks through memory; see the top of bias_act.cu.
struct Walk {
  int group, width;  // V; columns: groups of channels in a tile, a power of two (rows: 0)
  int64_t tiles, slices, per;  // channels or tiles of them; slices of each; steps of a whole block per slice
};

// group: what a thread takes at a time, if the runs allow.
Walk walk_of(Channels c, int group) {
  const bool columns = c.inner == 1 && c.channels > 1;
  if ((columns ? c.channels : c.inner) % group != 0) group = 1;
  int width = 0;
  int64_t tiles = c.channels, block_steps;
  if (columns) {
    const int64_t groups = c.channels / group;
    for (width = 1; width < kTile && width < groups;) width *= 2;
    tiles = ceil_div(groups, width);
    block_steps = ceil_div(c.size / c.channels, kThreads / width);
  } else {
    block_steps = ceil_div(c.size / c.channels / group, kThreads);
  }
  const int64_t slices = std::clamp<int64_t>(block_steps / kStepsPerSlice, 1, kMaxSlices);
  const int64_t per = ceil_div(block_steps, slices);
  return {group, width, tiles, ceil_div(block_steps, per), per};
}

// partial[channel * slices + slice] = sum of a block's v by channel.
template <int V, class T, class Body>
__global__ void __launch_bounds__(kThreads, kBlocksPerSM)
    grad_kernel(Channels c, Walk walk, Body body, T* __restrict__ partial) {
  __shared__ T shared[V * kThreads];
  const bool rows = walk.width == 0;
  const int t = threadIdx.x, height = rows ? kThreads : kThreads / walk.width;
  const int64_t run = c.inner / V, pixels = c.size / c.channels;
  // The thread's first channel, and its groups of that channel (rows) or pixels (columns).
  const int64_t channel = rows ? blockIdx.x : (static_cast<int64_t>(blockIdx.x) * walk.width + t % walk.width) * V;
  const int64_t slice = blockIdx.y, begin = slice * walk.per * height;
  const int64_t groups = rows ? pixels / V : (channel < c.channels ? pixels : 0);
  const int64_t end = min(groups, begin + walk.per * height);
  T total[V] = {}, v[V];
  for (int64_t g = begin + (rows ? t : t / walk.width); g < end; g += height) {
    int64_t i = g * c.channels + channel;
    if (rows) {
      const Quotient q = divide(g, run);
      i = (q.div * c.channels + channel) * c.inner + q.mod * V;
    }
    body(i, channel, rows ? 0 : 1, v);
#pragma unroll
    for (int j = 0; j < V; ++j) total[j] += v[j];
  }
  if (partial == nullptr) return;
#pragma unroll
  for (int j = 1; j < V; ++j) {
    if (rows)
      total[0] += total[j];
    else
      shared[j * kThreads + t] = total[j];
  }
  shared[t] = total[0];
  const int sums = rows ? 1 : V, width = rows ? 1 : walk.width;
  for (int half = kThreads / 2; half >= width; half /= 2) {
    __syncthreads();
    if (t < half)
      for (int j = 0; j < sums; ++j) shared[j * kThreads + t] += shared[j * kThreads + t + half];
  }
  if (t < width && channel < c.channels)
    for (int j = 0; j < sums; ++j) partial[(channel + j) * walk.slices + slice] = shared[j * kThreads + t];
}

template <int V, class T, class Body>
void run_grad(Channels c, Body body, void* db, void* partial, cudaStream_t stream) {
  const Walk walk = walk_of(c, V);
  const dim3 grid(static_cast<unsigned>(walk.tiles), static_cast<unsigned>(walk.slices));
  // With a single slice, its sum is the result.
  T* sums = static_cast<T*>(db == nullptr || walk.slices == 1 ? db : partial);
  if (walk.group == V)
    launch(grad_kernel<V, T, Body>, grid, dim3(kThreads), stream, c, walk, body, sums);
  else
    launch(grad_kernel<1, T, Body>, grid, dim3(kThreads), stream, c, walk, body, sums);
  if (sums != db) add_slices(c.channels, walk.slices, static_cast<const T*>(partial), static_cast<T*>(db), stream);
}

}  // namespace
}  // namespace stylegan::bias_act::cuda
