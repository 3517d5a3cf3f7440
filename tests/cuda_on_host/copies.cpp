// SPDX-License-Identifier: Apache-2.0
// Asynchronous copies that arrive as late as they may and are seen as late as they may.
#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

#include "harness.h"

namespace cuda_on_host {
namespace {

constexpr int kBytes = 16;  // of a copy, and of a row that ldmatrix reads
constexpr int kGroups = 8;  // of 4 banks, 16 bytes wide: one cycle reads or writes each of them once

struct Copy {
  unsigned char* to;
  const void* from;  // null for zeros
  int group;         // number of the commit that takes it
  unsigned char bytes[kBytes];
};

struct Copies {  // of a thread
  std::vector<Copy> flying, arrived;
  int commits = 0, issued = 0;
};

enum State : unsigned char { settled, on_its_way, unseen };  // unseen: arrived, and no __syncthreads since

std::vector<Copies> copies;
State states[kMaxShared / kBytes];
// Of 8 threads in a row: how many of their i-th copies go to each group of banks.
std::vector<std::vector<std::array<unsigned char, kGroups>>> targets;

bool misaligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % kBytes != 0; }

// Number of the 16 bytes within dynamic shared memory.
size_t unit_of(const void* p) {
  if (misaligned(p)) fail("misaligned address in shared memory, of 16 bytes");
  const auto offset = static_cast<const unsigned char*>(p) - dynamic_shared();
  if (offset < 0 || static_cast<size_t>(offset) + kBytes > shared_size())
    fail("16 bytes outside of dynamic shared memory");
  return static_cast<size_t>(offset) / kBytes;
}

bool poisoned(const unsigned char* p) {
  return std::all_of(p, p + kBytes, [](unsigned char c) { return c == 0xFF; });
}

}  // namespace

Counts counts;
int unseen_copies;

void copy_async16(void* shared, const void* global, bool valid) {
  const int thread = current_thread();
  const size_t unit = unit_of(shared);
  if (misaligned(global)) fail("misaligned source of an asynchronous copy");
  if (states[unit] == on_its_way) fail("a copy to shared memory that another copy is on its way to");
  if (states[unit] == unseen) fail("a copy to shared memory that another has just filled, without __syncthreads");
  Copies& own = copies[thread];
  Copy copy{static_cast<unsigned char*>(shared), valid ? global : nullptr, own.commits, {}};
  if (valid) std::memcpy(copy.bytes, global, kBytes);
  std::memset(shared, 0xFF, kBytes);
  states[unit] = on_its_way;
  own.flying.push_back(copy);
  auto& calls = targets[thread / kGroups];
  calls.resize(std::max<size_t>(calls.size(), ++own.issued));
  ++calls[own.issued - 1][unit % kGroups];
  ++counts.copies;
}

void commit_copies() { ++copies[current_thread()].commits; }

void wait_copies(int n) {
  Copies& own = copies[current_thread()];
  auto keep = own.flying.begin();
  for (Copy& copy : own.flying) {
    if (copy.group >= own.commits - n) {
      *keep++ = copy;
      continue;
    }
    if (!poisoned(copy.to)) fail("a store to shared memory that an asynchronous copy is on its way to");
    if (copy.from != nullptr && std::memcmp(copy.bytes, copy.from, kBytes) != 0)
      fail("the source of an asynchronous copy changed while it was on its way");
    std::memcpy(copy.to, copy.bytes, kBytes);
    states[unit_of(copy.to)] = unseen;
    own.arrived.push_back(copy);
    ++unseen_copies;
  }
  own.flying.erase(keep, own.flying.end());
}

int check_row(const void* row) {
  const size_t unit = unit_of(row);
  if (states[unit] == on_its_way) fail("load_matrix of shared memory that an asynchronous copy is on its way to");
  if (states[unit] == unseen) fail("load_matrix of shared memory that a copy has just filled, without __syncthreads");
  return static_cast<int>(unit % kGroups);
}

void begin_copies(size_t threads) {
  copies.assign(threads, {});
  targets.assign((threads + kGroups - 1) / kGroups, {});
  std::fill_n(states, shared_size() / kBytes, settled);
  unseen_copies = 0;
}

void hide_copies(int thread) {
  for (Copy& copy : copies[thread].arrived) {
    std::memcpy(copy.bytes, copy.to, kBytes);  // the thread may have stored something else
    std::memset(copy.to, 0xFF, kBytes);
  }
}

void show_copies(int thread) {
  for (Copy& copy : copies[thread].arrived) {
    if (!poisoned(copy.to)) fail("a store to shared memory that another thread's copy fills, without __syncthreads");
    std::memcpy(copy.to, copy.bytes, kBytes);
  }
}

void settle_copies() {
  if (unseen_copies == 0) return;
  unseen_copies = 0;
  for (Copies& own : copies) {
    for (Copy& copy : own.arrived) {
      if (!poisoned(copy.to))
        throw std::runtime_error("a store to shared memory that another thread's copy fills, without __syncthreads");
      std::memcpy(copy.to, copy.bytes, kBytes);
      states[unit_of(copy.to)] = settled;
    }
    own.arrived.clear();
  }
}

void end_copies() {
  for (const Copies& own : copies)
    if (!own.flying.empty()) throw std::runtime_error("asynchronous copies on their way at the end of a block");
  for (const auto& calls : targets)
    for (const auto& call : calls) counts.write_conflicts += *std::max_element(call.begin(), call.end()) - 1;
}

}  // namespace cuda_on_host

extern "C" {

// What was counted since the last call.
__attribute__((visibility("default"))) void cuda_on_host_counts(int64_t* counts) {
  std::memcpy(counts, &cuda_on_host::counts, sizeof cuda_on_host::counts);
  cuda_on_host::counts = {};
}
}
