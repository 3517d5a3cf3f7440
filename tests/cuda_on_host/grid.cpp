// SPDX-License-Identifier: Apache-2.0
// Sizes of grids and blocks, and the order in which their parts run.
#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>

#include "harness.h"

namespace cuda_on_host {

int thread_order = 0;

std::vector<int> permutation(size_t count) {
  std::vector<int> p(count);
  std::iota(p.begin(), p.end(), 0);
  if (thread_order == 1) std::reverse(p.begin(), p.end());
  if (thread_order > 1) std::shuffle(p.begin(), p.end(), std::mt19937(thread_order));
  return p;
}

std::vector<Warp> warps_of(size_t threads) {
  std::vector<Warp> result;
  for (int first : permutation((threads + warpSize - 1) / warpSize)) {
    first *= warpSize;
    Warp warp = permutation(std::min<size_t>(warpSize, threads - first));
    for (int& thread : warp) thread += first;
    result.push_back(warp);
  }
  return result;
}

uint3 position(size_t i, dim3 size) {
  return {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
          static_cast<unsigned>(i / size.x / size.y)};
}

// The limits of every GPU since compute capability 3.0.
void check_limits(dim3 grid, dim3 block) {
  const bool some = grid.x > 0 && grid.y > 0 && grid.z > 0 && block.x > 0 && block.y > 0 && block.z > 0;
  const bool few = grid.x <= 0x7FFFFFFF && grid.y <= 0xFFFF && grid.z <= 0xFFFF && block.z <= 64;
  if (!some || !few || static_cast<uint64_t>(block.x) * block.y * block.z > 1024)
    throw std::runtime_error("invalid configuration: a grid or a block is empty or too large");
}

}  // namespace cuda_on_host

// Of the blocks of a grid and of the threads of a block.
extern "C" __attribute__((visibility("default"))) void cuda_on_host_order(int order) {
  cuda_on_host::thread_order = order;
}
