// SPDX-License-Identifier: Apache-2.0
// The instructions of tensor cores and of what feeds them, from compute capability 8.0 on. Code for older
// targets compiles and traps; the host must not launch it. A plain C++ compiler (tests/cuda_on_host) calls
// functions of the same names that do the same with the lanes of a warp.
// Source: PTX ISA 9.0, sections 9.7.9.25 (cp.async), 9.7.15.5 (ldmatrix, mma and the fragments' layout).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

namespace stylegan::cuda {

#if defined(__CUDACC__)

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define STYLEGAN_MOVE(...) __trap()
#define STYLEGAN_COMPUTE(...) __trap()
#else
#define STYLEGAN_MOVE(...) asm volatile(__VA_ARGS__)
#define STYLEGAN_COMPUTE(...) asm(__VA_ARGS__)  // only registers: the compiler may move it
#endif

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// 16 bytes, both addresses aligned to them, at some time before wait_copies() returns; where not valid, zeros
// and no access to global memory.
__device__ __forceinline__ void copy_async16(void* shared, const void* global, bool valid) {
  [[maybe_unused]] const uint32_t to = shared_address(shared);
  [[maybe_unused]] const int bytes = valid ? 16 : 0;
  STYLEGAN_MOVE("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
}

// This thread's copies since the last call make a group.
__device__ __forceinline__ void commit_copies() { STYLEGAN_MOVE("cp.async.commit_group;" :: : "memory"); }

// Until all groups of this thread but the latest N are in shared memory, for this thread to see.
template <int N> __device__ __forceinline__ void wait_copies() {
  STYLEGAN_MOVE("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four matrices of 8 rows of 16 bytes: lane 8 * m + i has the address of row i of matrix m, and gets into
// r[m] the 4 bytes lane % 4 of row lane / 4. All lanes of the warp.
__device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void* shared_row) {
  [[maybe_unused]] const uint32_t at = shared_address(shared_row);
  STYLEGAN_MOVE("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]),
                "=r"(r[3]) : "r"(at) : "memory");
}

// The same, each matrix of 8 x 8 numbers of 16 bits transposed.
__device__ __forceinline__ void load_matrix_x4_trans(uint32_t (&r)[4], const void* shared_row) {
  [[maybe_unused]] const uint32_t at = shared_address(shared_row);
  STYLEGAN_MOVE("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]),
                "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

// d [16, 8] += a [16, 16] b [16, 8]. With g = lane / 4 and t = lane % 4:
//     a[0], a[1]: rows g, g + 8 of columns 2t, 2t + 1; a[2], a[3]: of columns 2t + 8, 2t + 9
//     b[0], b[1]: rows 2t, 2t + 1 and 2t + 8, 2t + 9 of column g
//     d[0], d[1]: row g, columns 2t, 2t + 1; d[2], d[3]: row g + 8
template <class S>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<S, __half>)
    STYLEGAN_COMPUTE(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" : "+f"(d[0]),
        "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    STYLEGAN_COMPUTE(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" : "+f"(d[0]),
        "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d [16, 8] += a [16, 8] b [8, 8] of numbers that to_tf32 made:
//     a[0], a[1]: rows g, g + 8 of column t; a[2], a[3]: of column t + 4; b[0], b[1]: rows t, t + 4 of column g
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  STYLEGAN_COMPUTE(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" : "+f"(d[0]),
      "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The nearest number with 10 bits of mantissa, ties away from 0, as the bits of a float.
__device__ __forceinline__ uint32_t to_tf32(float x) {
  uint32_t bits = 0;
  STYLEGAN_COMPUTE("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// Makes the compiler keep x rather than compute it again in every step of a loop.
template <class T> __device__ __forceinline__ void keep(T& x) {
  if constexpr (sizeof(T) == 8)
    asm volatile("" : "+l"(x));
  else
    asm volatile("" : "+r"(x));
}

#undef STYLEGAN_MOVE
#undef STYLEGAN_COMPUTE

#else

inline void copy_async16(void* shared, const void* global, bool valid) {
  cuda_on_host::copy_async16(shared, global, valid);
}
inline void commit_copies() { cuda_on_host::commit_copies(); }
template <int N> void wait_copies() { cuda_on_host::wait_copies(N); }
inline void load_matrix_x4(uint32_t (&r)[4], const void* shared_row) { cuda_on_host::load_matrix_x4(r, shared_row); }
inline void load_matrix_x4_trans(uint32_t (&r)[4], const void* shared_row) {
  cuda_on_host::load_matrix_x4_trans(r, shared_row);
}
template <class S> void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  cuda_on_host::mma_m16n8k16<S>(d, a, b);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  cuda_on_host::mma_m16n8k8_tf32(d, a, b);
}
inline uint32_t to_tf32(float x) { return cuda_on_host::to_tf32(x); }
template <class T> void keep(T&) {}

#endif

}  // namespace stylegan::cuda
