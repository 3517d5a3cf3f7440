// SPDX-License-Identifier: Apache-2.0
// What csrc/lib/cuda/tensor_core.cuh calls where there is no nvcc: asynchronous copies (copies.cpp) and
// tensor-core instructions (tensor_core.cpp). All 32 lanes of a warp have to arrive at the same call of
// load_matrix and mma, and fragments are those of the PTX manual.
#pragma once

#include <cstdint>

struct __half;
struct __nv_bfloat16;

namespace cuda_on_host {

// cp.async.cg.shared.global of 16 bytes, zeros where !valid; commit_group; wait_group n. Until the thread
// has waited for them the bytes are NaN, then this thread sees them, and after __syncthreads for
// all: __syncwarp is not enough here, although CUDA takes it for the same warp. Fails for misaligned
// addresses, a destination outside of dynamic shared memory, and for bytes that are copied to, stored to
// or read by load_matrix while a copy is on its way; launch throws for copies never waited for.
void copy_async16(void* shared, const void* global, bool valid);
void commit_copies();
void wait_copies(int n);

// ldmatrix.sync.aligned.m8n8.x4[.trans].shared.b16
void load_matrix_x4(uint32_t (&r)[4], const void* shared_row);
void load_matrix_x4_trans(uint32_t (&r)[4], const void* shared_row);

// d += a * b: mma.sync.aligned.m16n8k16.row.col.f32.S.S.f32, S = __half or __nv_bfloat16
template <class S> void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <> void mma_m16n8k16<__half>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <> void mma_m16n8k16<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32, which ignores the last 13 bits of a and b
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// cvt.rna.tf32.f32: to nearest, ties away from 0
uint32_t to_tf32(float);

}  // namespace cuda_on_host
