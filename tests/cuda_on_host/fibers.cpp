// SPDX-License-Identifier: Apache-2.0
// The threads of a block as fibers that take turns. A fiber runs threads to their end, one after
// another; only one that has to wait keeps its fiber, so that a kernel without barriers needs one.
//
// ucontext makes the fibers, _setjmp and _longjmp switch between them: no system call in a switch.
#undef _FORTIFY_SOURCE  // its longjmp takes a change of stacks for an attack
#include <csetjmp>

#include <dlfcn.h>
#include <link.h>
#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda_runtime.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_on_host {
namespace {

constexpr size_t kStackBytes = 256 << 10;  // address space; pages come with use
constexpr size_t kMostShared = 227 << 10;  // bytes a block may ask for, on a GPU of compute capability 9.0
constexpr size_t kSharedGuard = 16 << 10;  // bytes on either side
constexpr uint16_t kGuardNaN = 0xFFFE;     // not the NaN of unwritten memory, which might be copied there

struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  ucontext_t start;
  std::jmp_buf here;
  bool started = false;
};

enum class At { running, barrier, warp, returned };

struct Thread {
  At at;
  Fiber* fiber;
  int line;       // of the barrier
  unsigned mask;  // of the exchange, and what this lane brings and gets
  uint64_t value;
  Lanes lanes;
};

int thread_order = 0;  // 0 forward, 1 backward, else the seed of a shuffle
const std::function<void()>* kernel;
std::vector<Thread> threads;
std::vector<int> order;
size_t started;  // threads, in that order
int current;
Fiber* fiber;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
std::jmp_buf scheduler;
volatile bool in_kernel;
std::string error;
thread_local volatile char in_segment;
size_t shared_bytes;
alignas(16) uint16_t shared_arena[(kSharedGuard + kMostShared + kSharedGuard) / sizeof(uint16_t)];
unsigned char* const shared = reinterpret_cast<unsigned char*>(shared_arena) + kSharedGuard;

std::vector<int> permutation(size_t count) {
  std::vector<int> p(count);
  std::iota(p.begin(), p.end(), 0);
  if (thread_order == 1) std::reverse(p.begin(), p.end());
  if (thread_order > 1) std::shuffle(p.begin(), p.end(), std::mt19937(thread_order));
  return p;
}

uint3 position(size_t i, dim3 size) {
  return {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
          static_cast<unsigned>(i / size.x / size.y)};
}

void become(int thread) {
  current = thread;
  threadIdx = position(thread, blockDim);
}

void leave() {
  if (_setjmp(fiber->here) == 0) _longjmp(scheduler, 1);
}

void work() {
  for (;;) {
    while (started < order.size()) {
      become(order[started++]);
      (*kernel)();
      threads[current].at = At::returned;
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
  leave();
}

// A reader of shared memory that nobody wrote gets NaN, in every block.
void poison_shared() {
  std::memset(shared, 0xFF, shared_bytes);
  in_segment = 0;  // the first use gives this thread its copy of the segment
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void*) {
        const auto* begin = static_cast<const char*>(info->dlpi_tls_data);
        for (int i = 0; begin != nullptr && i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type == PT_TLS && begin <= &in_segment && &in_segment < begin + header.p_memsz) {
            std::memset(info->dlpi_tls_data, 0xFF, header.p_memsz);
            return 1;
          }
        }
        return 0;
      },
      nullptr);
}

// Throws for a store into the guards of dynamic shared memory.
void check_shared() {
  static const std::vector<uint16_t> words(kSharedGuard / sizeof(uint16_t), kGuardNaN);
  const auto* expected = reinterpret_cast<const unsigned char*>(words.data());
  const unsigned char *begin = shared - kSharedGuard, *end = shared + shared_bytes;
  const size_t odd = shared_bytes % 2, length = kSharedGuard - odd;
  if (std::memcmp(begin, expected, kSharedGuard) == 0 && std::memcmp(end, expected + odd, length) == 0) return;
  const ptrdiff_t before = shared - std::mismatch(begin, begin + kSharedGuard, expected).first;
  const ptrdiff_t after = std::mismatch(end, end + length, expected + odd).first - end;
  const std::string where = before > 0 ? std::to_string(before) + " bytes before the first"
                                       : std::to_string(after + 1) + " bytes after the last";
  throw std::runtime_error("a store " + where + " of " + std::to_string(shared_bytes) +
                           " bytes of dynamic shared memory");
}

bool complete(const Thread* warp, int lanes, unsigned mask) {
  for (int i = 0; i < lanes; ++i) {
    const bool here = warp[i].at == At::returned || (warp[i].at == At::warp && warp[i].mask == mask);
    if (mask >> i & 1 && !here) return false;
  }
  return true;
}

// Lets every group of lanes go that has met.
bool release_warps() {
  bool any = false;
  for (size_t first = 0; first < threads.size(); first += warpSize) {
    Thread* warp = &threads[first];
    const int lanes = static_cast<int>(std::min<size_t>(warpSize, threads.size() - first));
    for (int i = 0; i < lanes; ++i) {
      if (warp[i].at != At::warp || !complete(warp, lanes, warp[i].mask)) continue;
      const unsigned mask = warp[i].mask;
      Lanes met{};
      for (int j = 0; j < lanes; ++j)
        if (warp[j].at == At::warp && mask >> j & 1) met.present |= 1u << j, met.value[j] = warp[j].value;
      for (int j = 0; j < lanes; ++j)
        if (met.present >> j & 1) warp[j].at = At::running, warp[j].lanes = met;
      any = true;
    }
  }
  return any;
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
  return text + ", " + std::to_string(at_warp) + " at a shuffle or __syncwarp";
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
  return line != 0;
}

void run_block() {
  poison_shared();
  for (Thread& t : threads) t.at = At::running;
  for (started = 0; started < order.size();) enter(idle_fiber());
  while (release_warps() || release_block()) {
    for (int i : order) {
      if (threads[i].at != At::running) continue;
      become(i);
      enter(threads[i].fiber);
    }
  }
  check_shared();
}

// While it exists, a kernel that touches memory that is not there fails.
class Segfaults {
 public:
  Segfaults() {
    struct sigaction action {};
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
      char text[64];
      std::snprintf(text, sizeof text, "an access outside of memory, at %p", info->si_addr);
      if (in_kernel) fail(text);
      sigaction(SIGSEGV, &previous_, nullptr);  // on return it happens again
    };
    action.sa_flags = SA_SIGINFO | SA_NODEFER;  // the handler is left by a jump
    sigaction(SIGSEGV, &action, &previous_);
  }
  ~Segfaults() { sigaction(SIGSEGV, &previous_, nullptr); }

 private:
  static inline struct sigaction previous_;
};

// The limits of every GPU since compute capability 3.0; of shared memory, the highest.
void check_limits(dim3 grid, dim3 block) {
  const bool some = grid.x > 0 && grid.y > 0 && grid.z > 0 && block.x > 0 && block.y > 0 && block.z > 0;
  const bool few = grid.x <= 0x7FFFFFFF && grid.y <= 0xFFFF && grid.z <= 0xFFFF && block.z <= 64;
  if (!some || !few || static_cast<uint64_t>(block.x) * block.y * block.z > 1024)
    throw std::runtime_error("invalid configuration: a grid or a block is empty or too large");
  if (shared_bytes > kMostShared)
    throw std::runtime_error("invalid argument: " + std::to_string(shared_bytes) + " bytes of dynamic shared memory");
}

}  // namespace

void fail(const char* what) {
  error = what;
  if (fiber == nullptr) {  // outside of kernels there is nowhere to go
    std::fprintf(stderr, "%s\n", what);
    std::abort();
  }
  _longjmp(scheduler, 1);
}

int lane() { return current % warpSize; }

void barrier(int line) {
  threads[current].line = line;
  wait(At::barrier);
}

Lanes meet(unsigned mask, uint64_t value) {
  if (!(mask >> lane() & 1)) fail("a lane is not in the mask of its own exchange");
  threads[current].mask = mask;
  threads[current].value = value;
  wait(At::warp);
  return threads[current].lanes;
}

unsigned char* dynamic_shared() { return shared; }

void launch(dim3 grid, dim3 block, size_t dynamic_shared_bytes, const std::function<void()>& body) {
  shared_bytes = dynamic_shared_bytes;
  check_limits(grid, block);
  std::fill(std::begin(shared_arena), std::end(shared_arena), kGuardNaN);
  error.clear();
  kernel = &body;
  gridDim = grid;
  blockDim = block;
  threads.resize(static_cast<size_t>(block.x) * block.y * block.z);
  order = permutation(threads.size());
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

extern "C" {

// Of the blocks of a grid and of the threads of a block.
__attribute__((visibility("default"))) void cuda_on_host_order(int order) {
  cuda_on_host::thread_order = order;
}

// What g++ calls where -fsanitize finds something; all descriptions begin with the place.
struct Found {
  const char* file;
  uint32_t line, column;
};

static void found(const Found* place, const char* what) {
  static std::string text;
  text = std::string(place->file) + ":" + std::to_string(place->line) + ": " + what;
  cuda_on_host::fail(text.c_str());
}
void __ubsan_handle_type_mismatch_v1(const Found* place, uintptr_t) {
  found(place, "misaligned or null pointer");
}
void __ubsan_handle_out_of_bounds(const Found* place, uintptr_t) {
  found(place, "index out of an array");
}
void __ubsan_handle_shift_out_of_bounds(const Found* place, uintptr_t, uintptr_t) {
  found(place, "shift by too many bits");
}
}
