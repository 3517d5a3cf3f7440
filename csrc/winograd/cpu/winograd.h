// SPDX-License-Identifier: Apache-2.0
// 3x3 convolutions by minimal filtering (Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308), with what stands
// before and after them in a StyleGAN2 layer, on a CPU.
#pragma once

#include "lib/fir.h"
#include "lib/cpu/isa.h"
#include "lib/cpu/parallel.h"
#include "winograd/params.h"

namespace stylegan::cpu {

struct Winograd {
  WinogradForm form;
  int64_t samples, in_channels, out_channels;
  int64_t in_h, in_w, out_h, out_w;  // of x and y; all at least 1
  int64_t pad_y, pad_x;              // zeros before x; 0 for up
};

// w as it lies in memory: w[o, i, ky, kx] at o * stride_o + i * stride_i + ky * stride_y + kx * stride_x
struct WinogradFilters {
  WinogradForm form;
  int64_t out_channels, in_channels;
  int64_t stride_o, stride_i, stride_y, stride_x;
};

// Floats of the transformed weights.
int64_t winograd_weights_size(const WinogradFilters&);
void winograd_weights(const WinogradFilters&, Isa, const float* w, float* u, const ParallelFor&);

// Floats that a convolution needs beside its tensors; threads: how many parallel_for may use.
int64_t winograd_workspace(const Winograd&, int64_t threads);

// y = epilogue(convolution of x * styles); float32, x and y channels_last, styles [samples, in_channels] or null for
// 1, u from winograd_weights, the mask of the epilogue null. The same bits for any number of threads.
void winograd(const Winograd&, Isa, const FirEpilogue&, const float* x, const float* styles, const float* u, float* y,
              float* workspace, int64_t threads, const ParallelFor&);

// The gradient of `form` tile2, tile4 or down by the weight, [out_channels, in_channels, 3, 3]: dw[o, i, ky, kx] = sum
// of dy[o] x[i] over what w[o, i, ky, kx] multiplies. The same bits for any number of threads. That of `up` is that of
// `down` with x and dy exchanged.
int64_t winograd_grad_workspace(const Winograd&);
void winograd_grad(const Winograd&, Isa, const float* x, const float* dy, float* dw, float* workspace, const ParallelFor&);

}  // namespace stylegan::cpu
