// SPDX-License-Identifier: Apache-2.0
// Filters of real networks take the tiled kernel (tile.cuh). Everything else (float64, factors
// other than 1, 2, 4 or different along the axes, more than 24 taps, planes of a few hundred pixels) takes
// the general one here: a thread makes one element of y from global memory, with 64-bit indices and only
// taps that meet a sample.

#include "upfirdn2d/cuda/upfirdn2d.cuh"

#include "upfirdn2d/cuda/tiled.cuh"

namespace stylegan::upfirdn2d::cuda {
namespace {

constexpr int kThreads = 256;

// sum of f * x for pixel (oy, ox) of y; x: the plane, or the channel of the sample.
template <class S>
__device__ __forceinline__ Arithmetic<S> general_sum(const Fir& p, const S* __restrict__ x, int64_t pixel, int64_t oy,
                                                     int64_t ox) {
  using T = Arithmetic<S>;
  const T* taps = static_cast<const T*>(p.taps);
  const int64_t ix0 = p.x.first_sample(ox), kx0 = ix0 * p.x.up - (ox * p.x.down - p.x.origin);
  const int64_t iy0 = p.y.first_sample(oy), ky0 = iy0 * p.y.up - (oy * p.y.down - p.y.origin);
  T sum = 0;
  for (int64_t ky = ky0, iy = iy0; ky < p.y.taps; ky += p.y.up, ++iy) {
    if (iy < 0 || iy >= p.y.in) continue;
    const int64_t fy = p.flip ? ky : p.y.taps - 1 - ky;
    for (int64_t kx = kx0, ix = ix0; kx < p.x.taps; kx += p.x.up, ++ix) {
      if (ix < 0 || ix >= p.x.in) continue;
      const int64_t fx = p.flip ? kx : p.x.taps - 1 - kx;
      const T g = taps == nullptr ? T(1) : p.separable ? taps[fy] * taps[fx] : taps[fy * p.x.taps + fx];
      sum += g * widen(x[(iy * p.x.in + ix) * pixel]);
    }
  }
  return sum * static_cast<T>(p.gain);
}

template <class S, bool kEpilogue>
__global__ void __launch_bounds__(kThreads, 2)
    general_kernel(Fir p, DeviceEpilogue<Arithmetic<S>> e, int64_t size, const S* __restrict__ x, S* __restrict__ y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t pixels = p.x.out * p.y.out, in = p.x.in * p.y.in, last = min(i, size - 1);
  int64_t n, c, at;  // at: oy * width + ox
  if (p.channels_last) {
    const Quotient channel = divide(last, p.channels), sample = divide(channel.div, pixels);
    n = sample.div, c = channel.mod, at = sample.mod;
  } else {
    const Quotient plane = divide(last, pixels), sample = divide(plane.div, p.channels);
    n = sample.div, c = sample.mod, at = plane.mod;
  }
  const Quotient row = divide(at, p.x.out);
  const S* from = x + (p.channels_last ? n * in * p.channels + c : (n * p.channels + c) * in);
  Arithmetic<S> v = general_sum(p, from, p.channels_last ? p.channels : 1, row.div, row.mod);
  if constexpr (kEpilogue) {
    v = v * e.scale_of(n, c, p.channels) + (e.noise_of(n, at, pixels) + e.b_of(c));
    v = e.activate_alone(i, size, v);
  }
  if (i < size) y[i] = narrow<S>(v);
}

template <class S, bool kEpilogue>
void run_general(const Fir& f, const Epilogue& epilogue, const S* x, S* y, cudaStream_t stream) {
  const int64_t size = f.samples * f.channels * f.y.out * f.x.out;
  const DeviceEpilogue<Arithmetic<S>> e(epilogue, size);
  const dim3 grid(static_cast<unsigned>(ceil_div(size, kThreads)));
  launch(general_kernel<S, kEpilogue>, grid, dim3(kThreads), stream, f, e, size, x, y);
}

}  // namespace

void run(Dtype dtype, const Fir& fir, const Epilogue* epilogue, const void* x, void* y, cudaStream_t stream) {
  with_stored(dtype, [&](auto s) {
    using S = decltype(s);
    if constexpr (sizeof(S) < sizeof(double))
      if (try_tiles(fir, epilogue, static_cast<const S*>(x), static_cast<S*>(y), stream)) return;
    if (epilogue != nullptr)
      run_general<S, true>(fir, *epilogue, static_cast<const S*>(x), static_cast<S*>(y), stream);
    else
      run_general<S, false>(fir, Epilogue{}, static_cast<const S*>(x), static_cast<S*>(y), stream);
  });
}

}  // namespace stylegan::upfirdn2d::cuda
