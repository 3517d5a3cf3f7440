// SPDX-License-Identifier: Apache-2.0
// Shared memory between guards, and accesses that fault.
#include <dlfcn.h>
#include <link.h>
#include <signal.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "harness.h"

namespace cuda_on_host {
namespace {

constexpr size_t kSharedGuard = 16 << 10;  // bytes on either side
constexpr uint16_t kGuardNaN = 0xFFFE;     // not the NaN of unwritten memory, which might be copied there

thread_local volatile char in_segment;
size_t shared_bytes;
alignas(128) uint16_t shared_arena[(kSharedGuard + kMaxShared + kSharedGuard) / sizeof(uint16_t)];
unsigned char* const shared = reinterpret_cast<unsigned char*>(shared_arena) + kSharedGuard;
struct sigaction previous;

}  // namespace

unsigned char* dynamic_shared() { return shared; }
size_t shared_size() { return shared_bytes; }

void reserve_shared(size_t bytes) {
  if (bytes > kMaxShared)
    throw std::runtime_error("invalid argument: " + std::to_string(bytes) + " bytes of dynamic shared memory");
  shared_bytes = bytes;
  std::fill(std::begin(shared_arena), std::end(shared_arena), kGuardNaN);
}

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

Segfaults::Segfaults() {
  struct sigaction action{};
  action.sa_sigaction = [](int, siginfo_t* info, void*) {
    char text[64];
    std::snprintf(text, sizeof text, "an access outside of memory, at %p", info->si_addr);
    if (in_kernel) fail(text);
    sigaction(SIGSEGV, &previous, nullptr);  // on return it happens again
  };
  action.sa_flags = SA_SIGINFO | SA_NODEFER;  // the handler is left by a jump
  sigaction(SIGSEGV, &action, &previous);
}
Segfaults::~Segfaults() { sigaction(SIGSEGV, &previous, nullptr); }

}  // namespace cuda_on_host

extern "C" {

// g++ calls these if -fsanitize finds something. All descriptions begin with the position in the source.
struct Found {
  const char* file;
  uint32_t line, column;
};

static void found(const Found* position, const char* what) {
  static std::string text;
  text = std::string(position->file) + ":" + std::to_string(position->line) + ": " + what;
  cuda_on_host::fail(text.c_str());
}
void __ubsan_handle_type_mismatch_v1(const Found* position, uintptr_t) {
  found(position, "misaligned or null pointer");
}
void __ubsan_handle_out_of_bounds(const Found* position, uintptr_t) { found(position, "index out of an array"); }
void __ubsan_handle_shift_out_of_bounds(const Found* position, uintptr_t, uintptr_t) {
  found(position, "shift by too many bits");
}
}
