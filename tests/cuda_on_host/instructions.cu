// SPDX-License-Identifier: Apache-2.0
// Tensor-core instructions alone, and a product of matrices by all of them that can go wrong in many ways.
#include "lib/cuda/tensor_core.cuh"

#include "lib/cuda/launch.cuh"
#include "entry.h"

using namespace stylegan::cuda;

namespace {

enum Kind { float16, bfloat16, tf32 };

// d += a * b by the registers of each lane: a [32, 4], b [32, 2], d [32, 4].
__global__ void products(int kind, const uint32_t* a, const uint32_t* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t x[4], y[2];
  float z[4];
  for (int i = 0; i < 4; ++i) x[i] = a[lane * 4 + i], z[i] = d[lane * 4 + i];
  for (int i = 0; i < 2; ++i) y[i] = b[lane * 2 + i];
  if (kind == float16) mma_m16n8k16<__half>(z, x, y);
  if (kind == bfloat16) mma_m16n8k16<__nv_bfloat16>(z, x, y);
  if (kind == tf32) mma_m16n8k8_tf32(z, x, y);
  for (int i = 0; i < 4; ++i) d[lane * 4 + i] = z[i];
}

__global__ void rounded(const float* x, uint32_t* y) { y[threadIdx.x] = to_tf32(x[threadIdx.x]); }

// r [32, 4]: what each lane gets of x [size] bytes, from the rows that begin at byte starts[lane].
__global__ void matrices(bool transposed, int size, const unsigned char* x, const int* starts, uint32_t* r) {
  STYLEGAN_DYNAMIC_SHARED(shared);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < size; i += 32) shared[i] = x[i];
  __syncwarp();
  uint32_t own[4];
  if (transposed)
    load_matrix_x4_trans(own, shared + starts[lane]);
  else
    load_matrix_x4(own, shared + starts[lane]);
  for (int i = 0; i < 4; ++i) r[lane * 4 + i] = own[i];
}

enum Fault {
  none,
  waits_for_too_few,
  forgets_to_commit,
  no_barrier_after_waiting,
  no_barrier_before_copying,
  never_waits,
  copies_twice,
  stores_too_early,
  stores_before_barrier,
  reads_too_early,
  reads_plainly_too_early,
  misaligned_source,
  misaligned_destination,
  beyond_shared,
  changes_source,
  lane_is_elsewhere,
  lane_has_returned,
  lane_at_another_call,
};

constexpr int kRows = 32, kColumns = 8, kDepth = 16;  // of a step; two warps of 16 rows

// y [32, 8] = x [32, steps * 16] w [steps * 16, 8], in two stages. Rows of x lie `pitch` bytes apart.
__global__ void pipeline(int fault, int pitch, bool neighbours, int steps, __half* x, const __half* w, float* y) {
  STYLEGAN_DYNAMIC_SHARED(shared);
  const int t = static_cast<int>(threadIdx.x), lane = t % 32, size = kRows * pitch + kDepth * kColumns * 2;
  const int row = neighbours ? t / 2 : t % 32, segment = neighbours ? t % 2 : t / 32;
  const auto begin = [&](int step) {
    unsigned char* stage = shared + step % 2 * size;
    copy_async16(stage + row * pitch + segment * 16 + (fault == misaligned_destination ? 8 : 0),
                 x + (row * steps + step) * kDepth + segment * 8 + (fault == misaligned_source ? 4 : 0), step < steps);
    if (t < kDepth) copy_async16(stage + kRows * pitch + t * 16, w + (step * kDepth + t) * kColumns, step < steps);
    if (fault == copies_twice && t == 0) copy_async16(stage, x, true);
    if (fault == stores_too_early) reinterpret_cast<float*>(stage + row * pitch + segment * 16)[0] = 0;
    if (fault != forgets_to_commit) commit_copies();
  };
  float d[4] = {};
  if (fault == beyond_shared) copy_async16(shared + 2 * size, x, true);
  begin(0);
  for (int step = 0; step < steps; ++step) {
    begin(step + 1);
    if (fault == changes_source && step == 0 && t < 32) x[row * steps * kDepth] = __half(3);
    const unsigned char* stage = shared + step % 2 * size;
    if (fault == waits_for_too_few)
      wait_copies<2>();
    else if (fault != never_waits)
      wait_copies<1>();
    if (fault == stores_before_barrier) shared[step % 2 * size + (row ^ 1) * pitch + segment * 16] = 1;
    if (fault != no_barrier_after_waiting && fault != reads_plainly_too_early) __syncthreads();
    uint32_t a[4], b[4], low[2];
    if (fault == lane_has_returned && t == 33) return;
    if (fault == lane_is_elsewhere && t == 33) __syncwarp();
    const unsigned char* next = fault == reads_too_early ? shared + (step + 1) % 2 * size : stage;
    if (fault == lane_at_another_call && t < 33)
      load_matrix_x4(a, stage);
    else
      load_matrix_x4(a, next + (t / 32 * 16 + lane % 16) * pitch + lane / 16 * 16);
    load_matrix_x4_trans(b, stage + kRows * pitch + lane % 16 * 16);
    for (int i = 0; i < 2; ++i) low[i] = b[i];
    if (fault == reads_plainly_too_early) d[0] += __half2float(reinterpret_cast<const __half*>(stage)[8 * (63 - t)]);
    mma_m16n8k16<__half>(d, a, low);
    if (fault != no_barrier_before_copying) __syncthreads();
  }
  wait_copies<0>();
  for (int i = 0; i < 4; ++i) {
    const int r = t / 32 * 16 + lane / 4 + i / 2 * 8, c = lane % 4 * 2 + i % 2;
    y[r * kColumns + c] = d[i];
  }
}

// y [64] = x [63 - i] after a round trip: each thread works on what it has copied, the others see it later.
__global__ void own_copies(bool wait, const float* x, float* y) {
  STYLEGAN_DYNAMIC_SHARED(bytes);
  const int t = static_cast<int>(threadIdx.x);
  float* shared = reinterpret_cast<float*>(bytes);
  copy_async16(shared + 4 * t, x + 4 * t, true);
  commit_copies();
  wait_copies<0>();
  for (int i = 0; i < 4; ++i) shared[4 * t + i] *= 2;
  if (wait)
    __syncthreads();
  else
    __syncwarp();
  for (int i = 0; i < 4; ++i) y[4 * t + i] = shared[4 * ((t + 32) % 64) + i];
  if (!wait) __syncthreads();
}

}  // namespace

ENTRY const char* run_products(int kind, const uint32_t* a, const uint32_t* b, float* d) {
  return message([&] { launch(products, dim3(1), dim3(32), nullptr, kind, a, b, d); });
}
ENTRY const char* run_rounded(int count, const float* x, uint32_t* y) {
  return message([&] { launch(rounded, dim3(1), dim3(count), nullptr, x, y); });
}
ENTRY const char* run_matrices(int transposed, int size, const unsigned char* x, const int* starts, uint32_t* r) {
  return message(
      [&] { launch_shared(matrices, dim3(1), dim3(32), size, nullptr, transposed != 0, size, x, starts, r); });
}
ENTRY const char* run_pipeline(int fault, int pitch, int neighbours, int steps, __half* x, const __half* w, float* y) {
  const int bytes = 2 * (kRows * pitch + kDepth * kColumns * 2);
  return message([&] {
    launch_shared(pipeline, dim3(2), dim3(64), bytes, nullptr, fault, pitch, neighbours != 0, steps, x, w, y);
  });
}
ENTRY const char* run_own_copies(int wait, const float* x, float* y) {
  return message([&] { launch_shared(own_copies, dim3(1), dim3(64), 1024, nullptr, wait != 0, x, y); });
}
