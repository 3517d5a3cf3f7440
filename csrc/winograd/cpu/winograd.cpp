// SPDX-License-Identifier: Apache-2.0
// Transformed tiles of x, [frequency, tile, channel], times transformed weights, [panel, frequency, channel, 32], give
// those of y, [frequency, tile, 32], transformed back at once while they are in the cache. A task is a group of tiles
// by some panels. With few channels a task makes its tiles itself, in its own cache; with many, where weights are
// larger than caches, tiles are made for all groups and panels, so that the weights are read once.

#include "winograd/cpu/winograd.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "winograd/cpu/tiling.h"

namespace stylegan::winograd::cpu {
namespace {

constexpr int64_t kProductBytes = 376 << 10;  // of what a task makes, a third of an L2 cache: 72 tiles of tile4
constexpr int64_t kOwnBytes = 512 << 10;      // of tiles that a task makes itself, half of an L2 cache
constexpr int64_t kMinOwnTiles = 24;          // below that, reading weights takes too long
constexpr int64_t kSharedBytes = 5 << 20;     // of tiles that all tasks share, for each thread
constexpr int64_t kPanelsOfTask = 2;

// Memory that a thread keeps between calls, or the system would map it anew for each call.
float* thread_workspace(int64_t floats) {
  struct Free {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t(64)); }
  };
  thread_local std::unique_ptr<float[], Free> memory;
  thread_local int64_t size = 0;
  if (size < floats) {
    memory.reset();
    size = 0;
    memory.reset(static_cast<float*>(::operator new[](floats * sizeof(float), std::align_val_t(64))));
    size = floats;
  }
  return memory.get();
}

struct Work : Tiling {
  Work(const Convolution& g, int64_t threads)
      : Tiling(g), stride(g.in_channels + kLineFloats), panels(ceil_div(g.out_channels, kPanel)),
        panel_size(weights * g.in_channels * kPanel) {
    const int64_t bytes = frequencies * stride * sizeof(float);
    const int64_t max_group = kProductBytes / (frequencies * kPanel * sizeof(float)) / 12 * 12;
    const int64_t own_tiles = kOwnBytes / bytes / 12 * 12;
    own = own_tiles >= kMinOwnTiles && tiles >= 2 * threads * own_tiles;
    if (own) {
      group = std::min(own_tiles, max_group);
      together = tiles;
    } else {
      together = std::min(tiles, std::max(threads * kSharedBytes / bytes / max_group, int64_t{1}) * max_group);
      group = ceil_div(together, ceil_div(together, max_group));
    }
    frequency = odd_lines((own ? group : together) * stride);
    product = odd_lines(group * kPanel);
  }

  const int64_t stride;  // of a tile's channels
  const int64_t panels, panel_size;
  bool own;           // a task makes its tiles itself
  int64_t group;      // tiles of a task
  int64_t together;   // tiles that are made before they are multiplied
  int64_t frequency;  // floats between transformed tiles of x, and
  int64_t product;    // those of a panel of y
};

class Worker {
 public:
  Worker(const Work& w, const Kernels& k, const Epilogue& e, const float* x, const float* styles, const float* u,
         float* y)
      : w_(w), g_(w.g), k_(k), e_(e), form_(static_cast<int>(w.g.form)), x_(x), styles_(styles), u_(u), y_(y),
        zeros_(w.g.in_channels) {}

  // Tiles [first, last) of x -> v.
  void transform(int64_t first, int64_t last, float* v) {
    const float* pixels[kMaxTileSide * kMaxTileSide];
    for (int64_t i = first; i < last; ++i, v += w_.stride) {
      const Tiling::Tile tile = w_.tile(i);
      w_.inputs_of(tile, x_, zeros_.data(), pixels);
      const float* style = styles_ == nullptr ? nullptr : styles_ + tile.sample * g_.in_channels;
      k_.input[form_](pixels, style, g_.in_channels, v, w_.frequency, kPanel);
    }
  }

  // y of `count` tiles from `first` on, whose transforms v holds, and panels [panel, last).
  void multiply(int64_t first, int64_t count, const float* v, int64_t panel, int64_t last, float* products) {
    for (; panel < last; ++panel) {
      const float* u = u_ + panel * w_.panel_size;
      for (int64_t f = 0; f < w_.frequencies; ++f)
        k_.multiply(v + f * w_.frequency, w_.stride, count, u + w_.weight(f) * g_.in_channels * kPanel, g_.in_channels,
                    products + f * w_.product);
      for (int64_t t = 0; t < count; ++t) finish(w_.tile(first + t), panel * kPanel, products + t * kPanel);
    }
  }

 private:
  void finish(const Tiling::Tile& tile, int64_t o, const float* m) {
    const int64_t y = tile.row * w_.side.outputs, x = tile.column * w_.side.outputs;
    const int64_t pixels = g_.out_h * g_.out_w, pixel = y * g_.out_w + x;
    const auto from = [](const void* values, int64_t i) {
      return values == nullptr ? nullptr : static_cast<const float*>(values) + i;
    };
    const Output out{std::min(kPanel, g_.out_channels - o),
                     from(e_.scale, tile.sample * g_.out_channels + o),
                     from(e_.b, o),
                     from(e_.noise, (e_.noise_per_sample ? tile.sample * pixels : 0) + pixel),
                     g_.out_w,
                     static_cast<float>(e_.slopes.negative),
                     static_cast<float>(e_.slopes.positive),
                     static_cast<float>(e_.clamp),
                     y_ + (tile.sample * pixels + pixel) * g_.out_channels + o,
                     g_.out_w * g_.out_channels,
                     g_.out_channels,
                     std::min(w_.side.outputs, g_.out_h - y),
                     std::min(w_.side.outputs, g_.out_w - x)};
    k_.output[form_](m, w_.product, out);
  }

  const Work& w_;
  const Convolution& g_;
  const Kernels& k_;
  const Epilogue& e_;
  const int form_;
  const float *const x_, *const styles_, *const u_;
  float* const y_;
  std::vector<float> zeros_;
};

}  // namespace

const Kernels& kernels_for(Isa isa) {
  const Isa has = supported(isa);
  const Kernels* found = has == Isa::avx512 ? avx512_kernels() : has == Isa::avx2 ? avx2_kernels() : nullptr;
  return found == nullptr ? *portable_kernels() : *found;
}

int64_t weights_size(const Filters& w) {
  const int64_t side = sides_of(w.form).weights;
  return ceil_div(w.out_channels, kPanel) * side * side * w.in_channels * kPanel;
}

void transform_weights(const Filters& w, Isa isa, const float* from, float* u, const ParallelFor& parallel_for) {
  const auto transform = kernels_for(isa).weights[static_cast<int>(w.form)];
  const int64_t side = sides_of(w.form).weights, frequency = w.in_channels * kPanel;
  parallel_for(ceil_div(w.out_channels, kPanel) * w.in_channels, 16, [&](int64_t begin, int64_t end) {
    alignas(64) float taps[9 * kPanel] = {};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t i = task % w.in_channels, panel = task / w.in_channels;
      const int64_t channels = std::min(kPanel, w.out_channels - panel * kPanel);
      const float* filter = from + panel * kPanel * w.stride_o + i * w.stride_i;
      for (int64_t tap = 0; tap < 9; ++tap) {
        const float* at = filter + tap / 3 * w.stride_y + tap % 3 * w.stride_x;
        for (int64_t o = 0; o < kPanel; ++o) taps[tap * kPanel + o] = o < channels ? at[o * w.stride_o] : 0.f;
      }
      transform(taps, u + panel * side * side * frequency + i * kPanel, frequency);
    }
  });
}

int64_t workspace_size(const Convolution& g, int64_t threads) {
  const Work w(g, threads);
  return w.own ? 0 : w.frequencies * w.frequency + kLineFloats;
}

void convolve(const Convolution& g, Isa isa, const Epilogue& e, const float* x, const float* styles, const float* u,
              float* y, float* workspace, int64_t threads, const ParallelFor& parallel_for) {
  const Work w(g, threads);
  const Kernels& k = kernels_for(isa);
  if (w.own) {
    const int64_t tiles = w.frequencies * w.frequency;
    parallel_for(ceil_div(w.tiles, w.group), 1, [&](int64_t begin, int64_t end) {
      Worker worker(w, k, e, x, styles, u, y);
      float* const v = thread_workspace(tiles + w.frequencies * w.product);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task * w.group, last = std::min(first + w.group, w.tiles);
        worker.transform(first, last, v);
        worker.multiply(first, last - first, v, 0, w.panels, v + tiles);
      }
    });
    return;
  }
  float* const v = align_to_line(workspace);
  const int64_t parts = ceil_div(w.panels, kPanelsOfTask);
  for (int64_t start = 0; start < w.tiles; start += w.together) {
    const int64_t count = std::min(w.together, w.tiles - start);
    parallel_for(count, 1, [&](int64_t begin, int64_t end) {
      Worker(w, k, e, x, styles, u, y).transform(start + begin, start + end, v + begin * w.stride);
    });
    const int64_t groups = ceil_div(count, w.group);
    parallel_for(groups * parts, 1, [&](int64_t begin, int64_t end) {
      Worker worker(w, k, e, x, styles, u, y);
      float* const products = thread_workspace(w.frequencies * w.product);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % groups * w.group, last = std::min(first + w.group, count),
                      panel = task / groups * kPanelsOfTask;
        worker.multiply(start + first, last - first, v + first * w.stride, panel,
                        std::min(panel + kPanelsOfTask, w.panels), products);
      }
    });
  }
}

}  // namespace stylegan::winograd::cpu
