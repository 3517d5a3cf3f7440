// SPDX-License-Identifier: Apache-2.0
// What the parts of the shim know of each other.
#pragma once

#include <vector>

#include "cuda_runtime.h"

namespace cuda_on_host {

// ---- fibers.cpp

extern volatile bool in_kernel;

int current_thread();  // of the block

// Until all 32 lanes of the warp have come to an exchange of this kind: what they brought, for as long as
// none of them goes on to another. Fails where some lane has returned or does not exist.
const Lanes& everyone(const void* kind, uint64_t value);

// ---- grid.cpp

using Warp = std::vector<int>;  // its threads, in the order in which they run

extern int thread_order;                     // 0 forward, 1 backward, else the seed of a shuffle
std::vector<int> permutation(size_t count);  // 0 to count - 1 in that order
std::vector<Warp> warps_of(size_t threads);  // of a block, in the order in which they run
uint3 position(size_t i, dim3 size);
void check_limits(dim3 grid, dim3 block);  // throws

// ---- memory.cpp

constexpr size_t kMaxShared = 227 << 10;  // bytes a block may ask for, on a GPU of compute capability 9.0

void reserve_shared(size_t bytes);  // for all blocks of a launch
size_t shared_size();
void poison_shared();  // a reader of shared memory that nobody wrote gets NaN, in every block
void check_shared();   // throws for a store into the guards of dynamic shared memory

// While it exists, a kernel that touches unmapped memory fails.
class Segfaults {
 public:
  Segfaults();
  ~Segfaults();
};

// ---- copies.cpp

extern int unseen_copies;           // that have arrived, and no __syncthreads since
void begin_copies(size_t threads);  // of a block
void hide_copies(int thread);       // while another thread runs, and show_copies when it is back
void show_copies(int thread);
void settle_copies();  // at __syncthreads: what has arrived is visible to all threads
void end_copies();     // throws for copies that nobody waited for

// Fails unless the 16 bytes at `row` are aligned, in dynamic shared memory and visible to all
// threads. Returns which of the 8 groups of banks they are in.
int check_row(const void* row);

// ---- what tests ask for, in this order

struct Counts {
  int64_t read_conflicts, write_conflicts;  // of banks: ldmatrix, cp.async; each costs a cycle more
  int64_t reads, copies, products;          // ldmatrix.x4 of a warp, cp.async of a thread, mma of a warp
};
extern Counts counts;

}  // namespace cuda_on_host
