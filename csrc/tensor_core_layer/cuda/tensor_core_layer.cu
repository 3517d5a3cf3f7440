// SPDX-License-Identifier: Apache-2.0
// Chooses the tile and the parts of a sum, and has the kernel that adds the parts. The main kernel is in gemm.cuh.

#include "tensor_core_layer/cuda/tensor_core_layer.cuh"

#include <cstdlib>
#include <limits>

#include "lib/cuda/launch.cuh"
#include "tensor_core_layer/cuda/tile.cuh"

namespace stylegan::tensor_core_layer::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxParts = 32;
constexpr int64_t kMaxCoordinate = int64_t(1) << 30;
constexpr int64_t kMaxOffset = (int64_t(1) << 29) - 1;  // segments, in the table of rows

struct Gpu {
  int major, multiprocessors;
};

Gpu current_gpu() {
#if defined(__CUDACC__)
  int device = 0;
  Gpu gpu{};
  if (cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&gpu.major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&gpu.multiprocessors, cudaDevAttrMultiProcessorCount, device) == cudaSuccess)
    return gpu;
  throw std::runtime_error(std::string("tensor_core_layer: ") + cudaGetErrorString(cudaGetLastError()));
#else
  return {8, 108};
#endif
}

int element_bytes(Dtype dtype) { return dtype == Dtype::float32 ? 4 : 2; }

int64_t chunks_of(Dtype dtype, const Convolution& c) { return ceil_div(c.in_channels * element_bytes(dtype), kRow); }

int64_t size_of(const Convolution& c) { return c.samples * c.out_channels * c.out_h * c.out_w; }

int64_t columns_of(const Convolution& c) { return c.out_channels * (c.up ? 4 : 1); }

// y = epilogue(sum of the parts). A thread makes 8 channels of a pixel.
template <class S>
__global__ void __launch_bounds__(kThreads, 2)
    add_parts_kernel(DeviceEpilogue<float> e, const float* __restrict__ partial, int parts, int64_t size, int channels,
                     int64_t pixels, bool wide, bool wide_y, S* __restrict__ y) {
  const int64_t groups = (channels + 7) / 8, i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const Quotient group = divide(i, groups);
  const int64_t c = group.mod * 8, at = group.div * channels + c, count = channels - c;
  if (at >= size) return;
  const Quotient sample = divide(group.div, pixels);
  float u[8] = {}, b[8] = {};
  for (int part = 0; part < parts; ++part) {
    float v[8];
    load<8>(partial + part * size, at, count, wide, v);
#pragma unroll
    for (int j = 0; j < 8; ++j) u[j] += v[j];
  }
  if (e.scale != nullptr) {
    float s[8];
    load<8>(e.scale, sample.div * channels + c, count, wide, s);
#pragma unroll
    for (int j = 0; j < 8; ++j) u[j] *= s[j];
  }
  if (e.b != nullptr) load<8>(e.b, c, count, wide, b);
  const float noise = e.noise_of(sample.div, sample.mod, pixels);
#pragma unroll
  for (int j = 0; j < 8; ++j) u[j] += noise + b[j];
  activate(e, at, u);
  store<8>(y, at, count, wide_y, u);
}

int64_t tiles_of(const Convolution& c, const TileSize& t) {
  return shape_tiles(c, best_shape(c, t.m)) * ceil_div(columns_of(c), t.n);
}

// What a call of so many tiles costs, in cycles of an A100: a multiprocessor makes 1024 products of 16 bits a cycle by
// mma.sync, if warps have much of their operands in registers, and 20 bytes pass through its share of L2. What a
// block alone waits in a step, for barriers and shared memory, others fill.
double cost_of(Dtype dtype, const Convolution& c, const TileSize& t, int64_t tiles, int64_t parts,
               int multiprocessors) {
  constexpr double kWait = 300, kLaunch = 3000;
  const double products = dtype == Dtype::float32 ? 512 : 1024;
  const double reuse = t.warp_m * t.warp_n == 64 * 64 ? 0.9 : t.warp_m * t.warp_n == 64 * 32 ? 0.75 : 0.6;
  const double step = t.m * t.n * (kRow / element_bytes(dtype)) / (products * reuse);
  const double steps = static_cast<double>(ceil_div(chunks_of(dtype, c), parts)) * c.kernel * c.kernel + t.stages;
  const double blocks = static_cast<double>(ceil_div(tiles * parts, multiprocessors));
  const double at_once = std::min(blocks, static_cast<double>(t.blocks));  // on a multiprocessor
  const double add = parts == 1 ? 0 : kLaunch + 8.0 * size_of(c) * parts / (20.0 * multiprocessors);
  return blocks / at_once * steps * std::max(at_once * step, step + kWait) + add;
}

Gemm gemm_of(Dtype dtype, const Convolution& c, const TileSize& t, int split) {
  const Shape shape = best_shape(c, t.m);
  Gemm g{};
  g.samples = static_cast<int>(c.samples);
  g.in_channels = static_cast<int>(c.in_channels), g.out_channels = static_cast<int>(c.out_channels);
  g.in_h = static_cast<int>(c.in_h), g.in_w = static_cast<int>(c.in_w);
  g.out_h = static_cast<int>(c.out_h), g.out_w = static_cast<int>(c.out_w);
  g.kernel = c.kernel, g.pad_y = static_cast<int>(c.pad_y), g.pad_x = static_cast<int>(c.pad_x), g.up = c.up;
  g.log_w = shape.log_w, g.log_h = shape.log_h, g.slots = shape.slots;
  g.pitch = (1 << shape.log_w) + c.kernel - 1, g.rows = shape_rows(c.kernel, shape);
  g.inverse_pitch = inverse(g.pitch), g.inverse_rows = inverse(g.rows);
  g.tiles_x = static_cast<int>(ceil_div(lattice(c.out_w, c.up), 1 << shape.log_w));
  g.tiles_y = static_cast<int>(ceil_div(lattice(c.out_h, c.up), 1 << shape.log_h));
  g.tiles_n = static_cast<int>(ceil_div(columns_of(c), t.n));
  g.chunks = static_cast<int>(chunks_of(dtype, c)), g.chunks_each = static_cast<int>(ceil_div(g.chunks, split));
  g.x_bytes = g.slots * g.rows * kRow, g.x_ring = g.x_bytes * (c.kernel == 1 ? t.stages : 2);
  g.size = size_of(c);
  return g;
}

}  // namespace

int variants(Dtype dtype) {
  return dtype == Dtype::float64 ? 0 : dtype == Dtype::float32 ? kVariants<float> : kVariants<__half>;
}

TileShape tile_shape(Dtype dtype, int variant) {
  const TileSize& t = kTiles[variant];
  return {t.m, t.n, kRow / element_bytes(dtype), t.stages, t.threads()};
}

bool gpu_supported() {
#if defined(__CUDACC__)
  // Code for older GPUs, which a newer one takes too, traps where these instructions stand.
  cudaFuncAttributes code{};
  const cudaError_t error = cudaFuncGetAttributes(&code, add_parts_kernel<float>);
  cudaGetLastError();  // the next launch must not find it
  return error == cudaSuccess && code.ptxVersion >= 80 && current_gpu().major >= 8;
#else
  return true;
#endif
}

bool supports(Dtype dtype, const Convolution& c) {
  if (dtype == Dtype::float64 || (c.kernel != 1 && c.kernel != 3)) return false;
  const int64_t segment = kAccess / element_bytes(dtype);
  if (c.in_channels % segment != 0 || (c.up && c.out_channels % 8 != 0)) return false;
  for (const int64_t n : {c.samples, c.in_channels, columns_of(c), c.in_h, c.in_w, c.out_h, c.out_w})
    if (n < 1 || n >= kMaxCoordinate) return false;
  if (std::max(std::abs(c.pad_y), std::abs(c.pad_x)) >= kMaxCoordinate) return false;
  for (const TileSize& t : kTiles) {
    const Shape s = best_shape(c, t.m);
    const int64_t lines = (s.slots - 1) * c.in_h + (1 << s.log_h) + c.kernel - 1;
    if (lines * c.in_w * (c.in_channels / segment) >= kMaxOffset) return false;
  }
  return tiles_of(c, kTiles[0]) < 2 * kMaxCoordinate;
}

Choice choose(Dtype dtype, const Convolution& c, Choice wanted) {
  const int variant = wanted.variant, split = wanted.split;
  const int64_t chunks = chunks_of(dtype, c), max_parts = std::min<int64_t>(kMaxParts, chunks);
  const int multiprocessors = std::max(1, current_gpu().multiprocessors);
  Choice best{0, 0};
  double min_cost = std::numeric_limits<double>::infinity();
  for (int v = 0; v < variants(dtype); ++v) {
    if (variant >= 0 && v != variant) continue;
    const int64_t tiles = tiles_of(c, kTiles[v]);
    const bool many = tiles >= 4 * static_cast<int64_t>(multiprocessors) * kTiles[v].blocks;
    const int64_t first = split > 0 ? std::min<int64_t>(split, max_parts) : 1,
                  last = split > 0 || many ? first : max_parts;
    for (int64_t s = first; s <= last; ++s) {
      const int64_t parts = ceil_div(chunks, ceil_div(chunks, s));  // none empty
      const double cost = cost_of(dtype, c, kTiles[v], tiles, parts, multiprocessors);
      if (cost < min_cost) min_cost = cost, best = {v, static_cast<int>(parts)};
    }
  }
  return best;
}

int64_t workspace_size(const Convolution& c, Choice choice) { return choice.split > 1 ? choice.split * size_of(c) : 0; }

void run(Dtype dtype, const Convolution& c, const Epilogue& epilogue, const Operands& operands, void* y,
         void* workspace, Choice choice, cudaStream_t stream) {
  if (!gpu_supported()) throw std::runtime_error("tensor_core_layer: needs a GPU of compute capability 8.0 or more");
  if (!supports(dtype, c) || !aligned(operands.x) || !aligned(operands.weight) || !aligned(operands.styles))
    throw std::invalid_argument("tensor_core_layer: these shapes or addresses are not for this kernel");
  if (choice.variant < 0 || choice.variant >= variants(dtype) || choice.split < 1)
    throw std::invalid_argument("tensor_core_layer: there is no such variant or split");
  const TileSize& tile = kTiles[choice.variant];
  Gemm g = gemm_of(dtype, c, tile, choice.split);
  const bool groups = c.out_channels % 8 == 0;
  g.styles = static_cast<const float*>(operands.styles);
  g.partial = choice.split > 1 ? static_cast<float*>(workspace) : nullptr;
  g.wide_y = groups && aligned(y);
  g.wide_epilogue = groups && aligned(epilogue.scale) && aligned(epilogue.b) && aligned(workspace);
  const DeviceEpilogue<float> e(epilogue, g.size);
  const int64_t blocks = tiles_of(c, tile), pixels = c.out_h * c.out_w;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(choice.split));
  with_stored(dtype, [&](auto s) {
    using S = decltype(s);
    if constexpr (sizeof(S) < sizeof(double)) {
      S* to = static_cast<S*>(y);
      launch_layer(choice.variant, g, e, static_cast<const S*>(operands.x), static_cast<const S*>(operands.weight), to,
                   grid, stream);
      if (g.partial == nullptr) return;
      const dim3 adders(static_cast<unsigned>(ceil_div(c.samples * pixels * ceil_div(c.out_channels, 8), kThreads)));
      launch(add_parts_kernel<S>, adders, dim3(kThreads), stream, e, static_cast<const float*>(g.partial), choice.split,
             g.size, g.out_channels, pixels, g.wide_epilogue, g.wide_y, to);
    }
  });
}

}  // namespace stylegan::tensor_core_layer::cuda
