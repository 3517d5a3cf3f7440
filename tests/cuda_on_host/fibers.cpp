// SPDX-License-Identifier: Apache-2.0
// The threads of a block as fibers that take turns. A fiber runs threads of a warp to their end, one
// after another; only one that has to wait keeps its fiber, so that a kernel without barriers needs one.
// Warps run as far ahead of each other as barriers let them: each until it has to wait for the block or,
// in a random order, for some exchanges at a time.
//
// ucontext makes the fibers, _setjmp and _longjmp switch between them: no system call in a switch.
#undef _FORTIFY_SOURCE  // its longjmp takes a change of stacks for an attack
#include <csetjmp>

#include <ucontext.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "harness.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_on_host {

volatile bool in_kernel;

namespace {

constexpr size_t kStackBytes = 256 << 10;  // address space; pages come with use
constexpr unsigned kMaxTurns = 6;         // exchanges of a warp while others wait, in a random order

struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  ucontext_t start;
  std::jmp_buf here;
  bool started = false;
};

enum class At { start, running, barrier, warp, returned };

struct Thread {
  uint3 index;
  At at;
  Fiber* fiber;
  int line;          // of the barrier
  const void* kind;  // of the exchange, null for shuffles
  unsigned mask;     // of the exchange, and what this lane brings
  uint64_t value;
  int result;  // where the result is
};

const std::function<void()>* kernel;
std::vector<Thread> threads;
std::vector<Lanes> results;
std::vector<Warp> warps;  // in the order in which they run
const int *next, *last;   // threads of a warp that are to start
const int *turn, *end;    // threads of a warp of which some may go on
std::mt19937 turns;
int current;
Fiber* fiber;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
std::jmp_buf scheduler;
std::string error;

void become(int thread) {
  current = thread;
  threadIdx = threads[thread].index;
}

// To the next thread that may go on, or to the scheduler.
void leave() {
  if (_setjmp(fiber->here) != 0) return;
  while (turn != end) {
    const int thread = *turn++;
    if (threads[thread].at != At::running) continue;
    become(thread);
    fiber = threads[thread].fiber;
    _longjmp(fiber->here, 1);
  }
  _longjmp(scheduler, 1);
}

void work() {
  for (;;) {
    while (next != last) {
      become(*next++);
      threads[current].at = At::running;
      (*kernel)();
      threads[current].at = At::returned;
      if (unseen_copies > 0) hide_copies(current);
    }
    idle.push_back(fiber);
    leave();
  }
}

void enter(Fiber* f) {
  fiber = f;
  if (_setjmp(scheduler) == 0) {
    in_kernel = true;
    if (fiber->started) _longjmp(fiber->here, 1);
    fiber->started = true;
    setcontext(&fiber->start);
  }
  in_kernel = false;
  if (!error.empty()) throw std::runtime_error(error);
}

Fiber* idle_fiber() {
  if (idle.empty()) {
    Fiber& f = *fibers.emplace_back(new Fiber);
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = f.stack.get();
    f.start.uc_stack.ss_size = kStackBytes;
    f.start.uc_link = nullptr;
    makecontext(&f.start, work, 0);
    idle.push_back(&f);
  }
  Fiber* f = idle.back();
  idle.pop_back();
  return f;
}

void wait(At at) {
  threads[current].at = at;
  threads[current].fiber = fiber;
  if (unseen_copies > 0) hide_copies(current);
  leave();
  if (unseen_copies > 0) show_copies(current);
}

bool complete(const Thread* warp, int lanes, const Thread& one) {
  for (int i = 0; i < lanes; ++i) {
    const bool met = warp[i].at == At::warp && warp[i].mask == one.mask && warp[i].kind == one.kind;
    if (one.mask >> i & 1 && !met && warp[i].at != At::returned) return false;
  }
  return true;
}

// Lets every group of lanes go that has met.
void release_warp(const Warp& order) {
  const int first = order[0] / warpSize * warpSize, lanes = static_cast<int>(order.size());
  Thread* warp = &threads[first];
  for (int i = 0; i < lanes; ++i) {
    if (warp[i].at != At::warp || !complete(warp, lanes, warp[i])) continue;
    Lanes& met = results[first + i];
    met.present = 0;
    for (int j = 0; j < lanes; ++j) {
      if (warp[j].at != At::warp || !(warp[i].mask >> j & 1)) continue;
      met.present |= 1u << j, met.value[j] = warp[j].value;
      warp[j].at = At::running, warp[j].result = first + i;
    }
  }
}

// Lets the threads of a warp run until they wait again; false where none can.
bool step(const Warp& warp) {
  if (threads[warp[0]].at == At::start) {
    turn = end;
    for (next = warp.data(), last = next + warp.size(); next != last;) enter(idle_fiber());
    return true;
  }
  release_warp(warp);
  turn = warp.data(), end = turn + warp.size();
  while (turn != end && threads[*turn].at != At::running) ++turn;
  if (turn == end) return false;
  become(*turn);
  enter(threads[*turn++].fiber);
  return true;
}

std::string deadlock() {
  size_t at_barrier = 0, at_warp = 0;
  int low = 0, high = 0;
  for (const Thread& t : threads) {
    at_warp += t.at == At::warp;
    if (t.at != At::barrier) continue;
    low = at_barrier == 0 ? t.line : std::min(low, t.line);
    high = at_barrier == 0 ? t.line : std::max(high, t.line);
    ++at_barrier;
  }
  std::string text = "the threads of a block wait for each other: of " + std::to_string(threads.size());
  text += ", " + std::to_string(at_barrier) + " at __syncthreads";
  if (at_barrier > 0) text += " (line " + std::to_string(low);
  if (low != high) text += " to " + std::to_string(high);
  if (at_barrier > 0) text += ")";
  return text + ", " + std::to_string(at_warp) + " at an exchange of a warp";
}

// Lets the threads at the barrier go; false when all have returned.
bool release_block() {
  int line = 0;
  for (const Thread& t : threads) {
    if (t.at == At::returned) continue;
    if (t.at != At::barrier || (line != 0 && t.line != line)) throw std::runtime_error(deadlock());
    line = t.line;
  }
  for (Thread& t : threads)
    if (t.at == At::barrier) t.at = At::running;
  settle_copies();
  return line != 0;
}

void run_block() {
  poison_shared();
  begin_copies(threads.size());
  for (Thread& t : threads) t.at = At::start;
  do {
    for (bool any = true; any;) {
      any = false;
      for (const Warp& warp : warps)
        for (unsigned turns_left = thread_order > 1 ? 1 + turns() % kMaxTurns : UINT_MAX; turns_left > 0 && step(warp);
             --turns_left)
          any = true;
    }
  } while (release_block());
  end_copies();
  check_shared();
}

}  // namespace

void fail(const char* what) {
  error = what;
  if (fiber == nullptr) {  // outside of kernels
    std::fprintf(stderr, "%s\n", what);
    std::abort();
  }
  _longjmp(scheduler, 1);
}

int current_thread() { return current; }
int lane() { return current % warpSize; }

void barrier(int line) {
  threads[current].line = line;
  wait(At::barrier);
}

static const Lanes& exchange(unsigned mask, const void* kind, uint64_t value) {
  Thread& own = threads[current];
  own.mask = mask;
  own.kind = kind;
  own.value = value;
  wait(At::warp);
  return results[own.result];
}

Lanes meet(unsigned mask, uint64_t value) {
  if (!(mask >> lane() & 1)) fail("a lane is not in the mask of its own exchange");
  return exchange(mask, nullptr, value);
}

const Lanes& everyone(const void* kind, uint64_t value) {
  const Lanes& met = exchange(~0u, kind, value);
  if (met.present != ~0u) fail("an instruction for all lanes of a warp, of which some do not take part");
  return met;
}

void launch(dim3 grid, dim3 block, size_t dynamic_shared_bytes, const std::function<void()>& body) {
  check_limits(grid, block);
  reserve_shared(dynamic_shared_bytes);
  error.clear();
  kernel = &body;
  gridDim = grid;
  blockDim = block;
  threads.resize(static_cast<size_t>(block.x) * block.y * block.z);
  for (size_t i = 0; i < threads.size(); ++i) threads[i].index = position(i, block);
  results.resize(threads.size());
  warps = warps_of(threads.size());
  turns.seed(thread_order);
  const Segfaults segfaults;
  try {
    for (int i : permutation(static_cast<size_t>(grid.x) * grid.y * grid.z)) {
      blockIdx = position(i, grid);
      run_block();
    }
  } catch (...) {
    idle.clear();  // what the other fibers were doing is lost
    fibers.clear();
    fiber = nullptr;
    throw;
  }
  fiber = nullptr;
}

}  // namespace cuda_on_host
