// SPDX-License-Identifier: Apache-2.0
// Tiling: a task makes the gradients between 32 output and 64 input channels, over all pixels; so no two tasks
// write to one number, and the sum is taken in the same order for any number of threads. It goes through the
// image in chunks of some 256 pixels, whose channels it packs next to each other (x with its zero padding, each
// row once), and adds for every tap the outer products dy[8] x[32] of all pixels of a chunk in 16 registers of
// 16 floats. Bound by multiplications: 16 for 10 loads, a packed block of x stays in L1 for all blocks of dy.

#include "weight_grad/cpu/weight_grad.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "lib/cpu/aligned.h"
#include "lib/cpu/simd/vector.h"
#include "lib/integer.h"

namespace stylegan::weight_grad::cpu {
namespace {

constexpr int64_t kOutGroup = 32, kInGroup = 64;  // channels of a task
constexpr int64_t kChunkPixels = 256;             // 32 KiB of a block of x

#if defined(__GNUC__)
typedef float Vector __attribute__((vector_size(64), may_alias));  // half a block of x
#else
using Vector = PlainVector<16>;
#endif
constexpr int64_t kHalf = kInUnit / 2;

// sums[o][i] += sum over rows and pixels of dy[o] * x[i]; pixels of a row are `step` floats apart in x and
// kOutUnit in dy, where rows follow each other.
STYLEGAN_NOINLINE  // its loop needs every register
    void add_outer_products(const float* const* x_rows, int64_t rows, int64_t width, int64_t step, const float* dy,
                            float* sums) {
  Vector low[kOutUnit] = {}, high[kOutUnit] = {};
  for (int64_t row = 0; row < rows; ++row) {
    const float* x = x_rows[row];
    for (int64_t i = 0; i < width; ++i, x += step, dy += kOutUnit) {
      const Vector a = *reinterpret_cast<const Vector*>(x), b = *reinterpret_cast<const Vector*>(x + kHalf);
      STYLEGAN_UNROLL for (int o = 0; o < kOutUnit; ++o) {
        low[o] += dy[o] * a;
        high[o] += dy[o] * b;
      }
    }
  }
  STYLEGAN_UNROLL for (int o = 0; o < kOutUnit; ++o) {
    *reinterpret_cast<Vector*>(sums + o * kInUnit) += low[o];
    *reinterpret_cast<Vector*>(sums + o * kInUnit + kHalf) += high[o];
  }
}

// One thread's share.
class Worker {
 public:
  Worker(const Params& g, const float* x, const float* dy, float* dw)
      : g_(g), x_(x), dy_(dy), dw_(dw), taps_(g.kernel_h * g.kernel_w), line_((g.out_w - 1) * g.stride + g.kernel_w),
        chunk_rows_(std::max<int64_t>(kChunkPixels / g.out_w, 1)), zeros_(line_ * kInGroup),
        x_packed_(chunk_rows_ * g.kernel_h * line_ * kInGroup), dy_packed_(chunk_rows_ * g.out_w * kOutGroup),
        sums_(taps_ * kOutGroup * kInGroup), rows_(chunk_rows_ * g.kernel_h), shifted_(chunk_rows_) {}

  void task(int64_t first_out, int64_t first_in) {
    out_ = first_out, in_ = first_in;
    out_blocks_ = std::min(kOutGroup, g_.out_channels - out_) / kOutUnit;
    in_blocks_ = std::min(kInGroup, g_.in_channels - in_) / kInUnit;
    std::fill_n(sums_.data(), taps_ * kOutGroup * kInGroup, 0.f);
    const int64_t rows = g_.samples * g_.out_h;
    for (int64_t row = 0; row < rows; row += chunk_rows_) chunk(row, std::min(chunk_rows_, rows - row));
    for (int64_t tap = 0; tap < taps_; ++tap)
      for (int64_t o = 0; o < out_blocks_ * kOutUnit; ++o)
        for (int64_t i = 0; i < in_blocks_ * kInUnit; ++i)
          dw_[((out_ + o) * g_.in_channels + in_ + i) * taps_ + tap] =
              block(tap, o / kOutUnit, i / kInUnit)[o % kOutUnit * kInUnit + i % kInUnit];
  }

 private:
  float* block(int64_t tap, int64_t out_block, int64_t in_block) {
    return sums_.data() + ((tap * in_blocks_ + in_block) * out_blocks_ + out_block) * kOutUnit * kInUnit;
  }

  // Rows [first, first + count) of all samples' dy.
  void chunk(int64_t first, int64_t count) {
    pack_dy(first * g_.out_w, count * g_.out_w);
    pack_x(first, count);
    for (int64_t ib = 0; ib < in_blocks_; ++ib)
      for (int64_t tap = 0; tap < taps_; ++tap) {
        for (int64_t row = 0; row < count; ++row)
          shifted_[row] = rows_[row * g_.kernel_h + tap / g_.kernel_w] + (ib * line_ + tap % g_.kernel_w) * kInUnit;
        for (int64_t ob = 0; ob < out_blocks_; ++ob)
          add_outer_products(shifted_.data(), count, g_.out_w, g_.stride * kInUnit,
                             dy_packed_.data() + ob * count * g_.out_w * kOutUnit, block(tap, ob, ib));
      }
  }

  // [block, pixel, kOutUnit]
  void pack_dy(int64_t first, int64_t pixels) {
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t ob = 0; ob < out_blocks_; ++ob)
        std::memcpy(dy_packed_.data() + (ob * pixels + p) * kOutUnit,
                    dy_ + (first + p) * g_.out_channels + out_ + ob * kOutUnit, kOutUnit * sizeof(float));
  }

  // Rows of x that the rows of dy meet, each [block, line, kInUnit], and where they are by row of dy and of the kernel.
  void pack_x(int64_t first, int64_t count) {
    const int64_t size = in_blocks_ * line_ * kInUnit;
    int64_t slots = 0, packed = -1;  // the last row of all samples' x that is packed
    for (int64_t row = 0; row < count; ++row) {
      const int64_t n = (first + row) / g_.out_h, y = (first + row) % g_.out_h * g_.stride - g_.pad_y;
      for (int64_t ky = 0; ky < g_.kernel_h; ++ky) {
        const float*& at = rows_[row * g_.kernel_h + ky];
        const int64_t i = n * g_.in_h + y + ky;
        if (y + ky < 0 || y + ky >= g_.in_h) {
          at = zeros_.data();
        } else if (i <= packed) {  // rows of x come in order and without gaps where they overlap
          at = x_packed_.data() + (slots - 1 - (packed - i)) * size;
        } else {
          pack_row(i, x_packed_.data() + slots * size);
          at = x_packed_.data() + slots++ * size;
          packed = i;
        }
      }
    }
  }

  void pack_row(int64_t row, float* to) {
    const float* from = x_ + row * g_.in_w * g_.in_channels + in_;
    for (int64_t ib = 0; ib < in_blocks_; ++ib, from += kInUnit)
      for (int64_t j = 0; j < line_; ++j, to += kInUnit) {
        const int64_t column = j - g_.pad_x;
        if (column < 0 || column >= g_.in_w)
          std::memset(to, 0, kInUnit * sizeof(float));
        else
          std::memcpy(to, from + column * g_.in_channels, kInUnit * sizeof(float));
      }
  }

  const Params& g_;
  const float *const x_, *const dy_;
  float* const dw_;
  const int64_t taps_, line_, chunk_rows_;  // line_: pixels of a padded row of x
  int64_t out_ = 0, in_ = 0, out_blocks_ = 0, in_blocks_ = 0;
  AlignedFloats zeros_, x_packed_, dy_packed_, sums_;
  std::vector<const float*> rows_, shifted_;
};

}  // namespace

void run(const Params& g, const float* x, const float* dy, float* dw, const ParallelFor& parallel_for) {
  const int64_t in_groups = ceil_div(g.in_channels, kInGroup);
  const int64_t tasks = ceil_div(g.out_channels, kOutGroup) * in_groups;
  parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
    Worker worker(g, x, dy, dw);
    for (int64_t task = begin; task < end; ++task)
      worker.task(task / in_groups * kOutGroup, task % in_groups * kInGroup);
  });
}

}  // namespace stylegan::weight_grad::cpu
