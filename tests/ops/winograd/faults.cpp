// SPDX-License-Identifier: Apache-2.0
// Convolution convolutions on memory of exactly their sizes, for a build with -fsanitize=address,undefined and
// malloc_fill_byte=255: whatever is not stored is NaN. See test_memory.py.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>

#include "winograd/cpu/winograd.h"
#include "winograd/cpu/kernels.h"

namespace stylegan::winograd::cpu {

const Kernels *real_portable(), *real_avx2(), *real_avx512();
const Kernels* plain_portable();  // for compilers without vectors
int asked[3];
bool plain;

const Kernels* portable_kernels() { return ++asked[0], plain ? plain_portable() : real_portable(); }
const Kernels* avx2_kernels() { return ++asked[1], real_avx2(); }
const Kernels* avx512_kernels() { return ++asked[2], real_avx512(); }

}  // namespace stylegan::winograd::cpu

namespace {

using namespace stylegan;
using namespace stylegan::winograd;
using namespace stylegan::winograd::cpu;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

// Not initialised; `offset` floats behind where it was allocated.
struct Floats {
  explicit Floats(int64_t size, int64_t offset = 0)
      : memory(new float[size + offset]), size(size), first(memory.get() + offset) {}
  Floats& fill(unsigned seed) {
    for (int64_t i = 0; i < size; ++i) {
      seed = seed * 1664525u + 1013904223u;
      first[i] = static_cast<float>(seed >> 8) / (1 << 23) - 1;
    }
    return *this;
  }
  bool finite() const {
    for (int64_t i = 0; i < size; ++i)
      if (!std::isfinite(first[i])) return false;
    return true;
  }
  bool equals(const Floats& other) const { return std::memcmp(first, other.first, size * sizeof(float)) == 0; }
  bool near(const Floats& other) const {
    float error = 0, largest = 0;
    for (int64_t i = 0; i < size; ++i) {
      error = std::max(error, std::abs(first[i] - other.first[i]));
      largest = std::max(largest, std::abs(first[i]));
    }
    return error <= 1e-5f * largest;
  }
  std::unique_ptr<float[]> memory;
  int64_t size;
  float* first;
};

// Ranges of `size`, the last first: tasks must not depend on their order.
ParallelFor ranges_of(int64_t size) {
  return [size](int64_t count, int64_t, const std::function<void(int64_t, int64_t)>& body) {
    for (int64_t begin = (count - 1) / size * size; begin >= 0; begin -= size)
      body(begin, std::min(begin + size, count));
  };
}

int64_t out_size(Form form, int64_t in, int64_t pad) {
  if (form == Form::up) return 2 * in + 1;
  return form == Form::down ? (in + 2 * pad - 3) / 2 + 1 : in + 2 * pad - 2;
}

// Three turns, of other ranges, threads, strides and epilogues. Returns the last y.
Floats run(const Convolution& g, Isa isa) {
  for (int turn = 0;; ++turn) {
    const bool full = turn > 0, flip = turn == 2;
    const ParallelFor parallel_for = ranges_of(turn == 0 ? int64_t{1} << 60 : turn == 1 ? 1 : 7);
    const int64_t i = g.in_channels, o = g.out_channels, pixels = g.out_h * g.out_w;
    Floats weight(o * i * 9), x(g.samples * g.in_h * g.in_w * i), styles(g.samples * i), scale(g.samples * o), b(o);
    Floats noise((full ? g.samples : 1) * pixels);
    weight.fill(1), x.fill(2), styles.fill(3), scale.fill(4), b.fill(5), noise.fill(6);
    Filters filters{g.form, o, i, i * 9, 9, 3, 1};
    if (flip) filters.stride_y = -3, filters.stride_x = -1;
    Floats u(weights_size(filters));
    transform_weights(filters, isa, weight.first + (flip ? 8 : 0), u.first, parallel_for);
    require(u.finite(), "all of u is stored");
    const double most = std::numeric_limits<double>::infinity();
    const Epilogue epilogue{
        full ? scale.first : nullptr, noise.first, full ? b.first : nullptr, full, {0.2, 1.4}, most, nullptr, 0};
    const auto convolved = [&](int64_t threads, const ParallelFor& parallel_for) {
      Floats y(g.samples * pixels * o), workspace(workspace_size(g, threads), turn);
      convolve(g, isa, epilogue, x.first, full ? styles.first : nullptr, u.first, y.first, workspace.first, threads,
               parallel_for);
      require(y.finite(), "all of y is stored, from what is stored");
      return y;
    };
    Floats y = convolved(turn + 1, parallel_for);
    if (turn == 1) require(y.equals(convolved(1, ranges_of(5))), "other ranges and threads, the same bits of y");
    if (turn == 2) return y;
  }
}

Floats run_grad(const Convolution& g, Isa isa) {
  Floats x(g.samples * g.in_h * g.in_w * g.in_channels), dy(g.samples * g.out_h * g.out_w * g.out_channels);
  x.fill(1), dy.fill(2);
  const auto gradient = [&](int64_t range, int64_t offset) {
    Floats dw(g.out_channels * g.in_channels * 9), workspace(grad_workspace_size(g), offset);
    weight_grad(g, isa, x.first, dy.first, dw.first, workspace.first, ranges_of(range));
    require(dw.finite(), "all of dw is stored, from what is stored");
    return dw;
  };
  Floats dw = gradient(int64_t{1} << 60, 0);
  require(dw.equals(gradient(3, 1)), "other ranges, the same bits of dw");
  return dw;
}

}  // namespace

Convolution shape(Form form, int64_t samples, int64_t in, int64_t out, int64_t h, int64_t w, int64_t pad_y,
                  int64_t pad_x) {
  return {form, samples, in, out, h, w, out_size(form, h, pad_y), out_size(form, w, pad_x), pad_y, pad_x};
}

int main() {
  const Form tile2 = Form::tile2, tile4 = Form::tile4, up = Form::up, down = Form::down;
  const Convolution small[] = {
      shape(tile2, 1, 16, 16, 1, 1, 1, 1),
      shape(tile2, 2, 48, 48, 5, 7, 1, 2),
      shape(tile4, 1, 16, 16, 3, 3, 0, 0),
      shape(tile4, 2, 32, 80, 7, 10, 2, 0),
      shape(up, 1, 16, 16, 1, 1, 0, 0),
      shape(up, 2, 32, 48, 5, 8, 0, 0),
      shape(down, 1, 16, 16, 1, 1, 1, 1),
      shape(down, 2, 48, 80, 10, 9, 0, 2),
      // Parts of vectors of channels.
      shape(tile2, 1, 1, 3, 3, 4, 1, 1),
      shape(tile4, 2, 19, 37, 7, 10, 2, 2),
      shape(up, 1, 21, 9, 5, 8, 0, 0),
      shape(down, 1, 7, 33, 10, 9, 1, 1),
  };
  const Convolution large[] = {
      // tasks that make their own tiles
      shape(tile2, 1, 16, 16, 46, 47, 1, 1),
      shape(tile4, 1, 32, 48, 49, 50, 1, 1),
      shape(up, 1, 32, 16, 27, 28, 0, 0),
      shape(down, 1, 32, 16, 58, 57, 1, 1),
      // tiles that tasks share, some at a time
      shape(tile2, 1, 512, 16, 27, 30, 1, 1),
      shape(tile4, 1, 256, 16, 37, 41, 1, 1),
      shape(up, 1, 128, 80, 41, 40, 0, 0),
      shape(down, 1, 128, 16, 83, 80, 1, 0),
  };
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    const int has = static_cast<int>(supported(isa));
    require(has <= static_cast<int>(isa), "no better than asked for");
    std::memset(asked, 0, sizeof asked);
    for (const Convolution& g : small) {
      run(g, isa);
      if (g.form != up) run_grad(g, isa);
    }
    for (const Convolution& g : large) {
      run(g, isa);
      if (g.form != up && g.in_channels <= 32) run_grad(g, isa);
    }
    for (int i = 0; i < 3; ++i) require((asked[i] > 0) == (i == has), "the kernels of that isa");
    std::printf("%d", has);
  }
  for (const Convolution& g : small) {
    const auto both = [&](Floats (*run)(const Convolution&, Isa)) {
      plain = false;
      const Floats expected = run(g, Isa::portable);
      plain = true;
      require(expected.near(run(g, Isa::portable)), "plain vectors give the same");
    };
    both(run);
    if (g.form != up) both(run_grad);
  }
}
