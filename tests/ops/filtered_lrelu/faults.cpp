// SPDX-License-Identifier: Apache-2.0
// filtered_lrelu on memory of exactly its sizes, for a build with -fsanitize=address,undefined and
// malloc_fill_byte=255: whatever is not stored is NaN. See test_memory.py.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "lib/cpu/convert.h"
#include "filtered_lrelu/cpu/filtered_lrelu.h"
#include "filtered_lrelu/cpu/kernels.h"

namespace stylegan::filtered_lrelu::cpu {

const Kernels *real_portable(), *real_avx2(), *real_avx512();
const Kernels* plain_portable();  // for compilers without vectors
int asked[3];
bool plain;

const Kernels* portable_kernels() { return ++asked[0], plain ? plain_portable() : real_portable(); }
const Kernels* avx2_kernels() { return ++asked[1], real_avx2(); }
const Kernels* avx512_kernels() { return ++asked[2], real_avx512(); }

}  // namespace stylegan::filtered_lrelu::cpu

namespace {

using namespace stylegan;
using namespace stylegan::filtered_lrelu;
using namespace stylegan::filtered_lrelu::cpu;

const char* about = "";

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s, %s\n", what, about);
  std::exit(1);
}

// Not initialised.
template <class T> struct Memory {
  explicit Memory(int64_t size) : memory(new T[size]), size(size) {}
  bool equals(const Memory& other) const {
    return std::memcmp(memory.get(), other.memory.get(), size * sizeof(T)) == 0;
  }
  T* get() const { return memory.get(); }
  std::unique_ptr<T[]> memory;
  int64_t size;
};

struct Random {
  uint32_t next() { return state = state * 1664525u + 1013904223u; }
  float number() { return static_cast<float>(next() >> 8) / (1 << 23) - 1; }
  int64_t below(int64_t n) { return (next() >> 8) % n; }
  uint32_t state;
};

Memory<float> numbers(int64_t size, uint32_t seed) {
  Memory<float> m(size);
  Random random{seed};
  for (int64_t i = 0; i < size; ++i) m.get()[i] = random.number();
  return m;
}

// Bytes of numbers in a dtype, and back.
Memory<unsigned char> stored(Dtype dtype, const Memory<float>& values) {
  Memory<unsigned char> m(values.size * size_of(dtype));
  store(dtype, m.get(), 0, values.size, values.get());
  return m;
}

Memory<float> read(Dtype dtype, const Memory<unsigned char>& bytes) {
  Memory<float> m(bytes.size / size_of(dtype));
  widen(dtype, bytes.get(), 0, m.size, m.get());
  return m;
}

// Ranges of `size`, the last first: tasks must not depend on their order.
ParallelFor ranges_of(int64_t size) {
  return [size](int64_t count, int64_t, const std::function<void(int64_t, int64_t)>& body) {
    for (int64_t begin = (count - 1) / size * size; begin >= 0; begin -= size)
      body(begin, std::min(begin + size, count));
  };
}

struct Shape {
  int64_t samples, channels, h, w;
  bool last;
  int64_t up, down;
  int64_t up_w, up_h, down_w, down_h;  // taps; 0: none; height 0: separable
  int64_t x0, x1, y0, y1;
  int64_t down_origin;
  double clamp;
  uint32_t seed;
};

Axis axis(const Shape& s, int64_t in, int64_t up_taps, int64_t down_taps, int64_t before, int64_t after) {
  const int64_t mid = in * s.up + before + after - up_taps + 1;
  const int64_t out = (mid + s.down_origin - down_taps) / s.down + 1;
  return {{s.up, 1, up_taps, before, in, mid}, {1, s.down, down_taps, s.down_origin, mid, out}};
}

std::string text(const Shape& s, Dtype dtype, Isa isa) {
  char line[400];
  std::snprintf(
      line, sizeof line, "[%d %d %d %d] last %d up %d down %d fu %dx%d fd %dx%d padding %d %d %d %d dtype %d isa %d",
      int(s.samples), int(s.channels), int(s.h), int(s.w), s.last, int(s.up), int(s.down), int(s.up_w), int(s.up_h),
      int(s.down_w), int(s.down_h), int(s.x0), int(s.x1), int(s.y0), int(s.y1), int(dtype), int(isa));
  return line;
}

// y of own signs; also with a mask that is written and then given, in other ranges, and the adjoint of that.
Memory<float> run(const Shape& s, Dtype dtype, Isa isa) {
  const std::string line = text(s, dtype, isa);
  about = line.c_str();
  const auto size = [](int64_t k) { return std::max<int64_t>(k, 1); };
  const bool up_separable = s.up_h == 0, down_separable = s.down_h == 0;
  const int64_t up_h = size(up_separable ? s.up_w : s.up_h), down_h = size(down_separable ? s.down_w : s.down_h);
  const Memory<float> up = numbers(s.up_w * (up_separable ? 1 : up_h), 1), b = numbers(s.channels, 3);
  Memory<float> down = numbers(s.down_w * (down_separable ? 1 : down_h), 2);
  if (!down_separable && s.seed % 2)  // symmetric along y
    for (int64_t i = 0; i < down.size; ++i)
      down.get()[i] = down.get()[std::min(i / s.down_w, down_h - 1 - i / s.down_w) * s.down_w + i % s.down_w];
  Params p;
  p.samples = s.samples, p.channels = s.channels, p.channels_last = s.last;
  p.x = axis(s, s.w, size(s.up_w), size(s.down_w), s.x0, s.x1);
  p.y = axis(s, s.h, up_h, down_h, s.y0, s.y1);
  p.up = {s.up_w ? up.get() : nullptr, up_separable, s.seed % 3 == 0, 1.5};
  p.down = {s.down_w ? down.get() : nullptr, down_separable, s.seed % 5 == 0, 0.5};
  p.b = s.seed % 4 == 3 ? nullptr : b.get();
  p.slopes = s.seed % 7 == 6 ? Slopes{0.0, -0.7} : Slopes{0.28, 1.4};
  p.clamp = s.clamp;
  const int64_t planes = s.samples * s.channels;
  require(std::min({p.x.up.out, p.y.up.out, p.x.down.out, p.y.down.out}) > 0, "a shape of results");
  const auto result = [&](const Params& q, Signs signs, Memory<uint32_t>* mask, const Memory<unsigned char>& x,
                          int64_t range) {
    Params r = q;
    r.signs = signs;
    r.mask = mask ? mask->get() : nullptr;
    Memory<unsigned char> y(planes * r.x.down.out * r.y.down.out * size_of(dtype));
    stylegan::filtered_lrelu::cpu::run(dtype, r, isa, x.get(), y.get(), ranges_of(range));
    const Memory<float> values = read(dtype, y);
    for (int64_t i = 0; i < values.size; ++i)
      require(std::isfinite(values.get()[i]), "all of y is stored, from what is stored");
    return y;
  };
  const Memory<unsigned char> x = stored(dtype, numbers(planes * s.h * s.w, s.seed));
  const Memory<unsigned char> y = result(p, Signs::own, nullptr, x, int64_t{1} << 60);
  Memory<uint32_t> mask(p.mask_words()), again(p.mask_words());
  std::memset(again.get(), 0x55, again.size * sizeof(uint32_t));
  require(y.equals(result(p, Signs::written, &mask, x, 1)), "written, the same y");
  require(y.equals(result(p, Signs::written, &again, x, 3)), "other ranges, the same y");
  require(mask.equals(again), "all of the mask is stored");
  if (s.clamp == std::numeric_limits<double>::infinity())  // what a clamp stops is 0 in what is linear
    require(y.equals(result(p, Signs::given, &mask, x, 2)) || p.slopes.negative <= 0, "given, the same y");
  Params t = p;
  t.b = nullptr;
  t.up = p.down, t.down = p.up;
  t.up.flip = !t.up.flip, t.down.flip = !t.down.flip;
  const auto turned = [](const Axis& a) {
    const FirAxis &u = a.up, &d = a.down;
    return Axis{{d.down, 1, d.taps, d.taps - 1 - d.origin, d.out, d.in},
                {1, u.up, u.taps, u.taps - 1 - u.origin, u.out, u.in}};
  };
  t.x = turned(p.x), t.y = turned(p.y);
  const Memory<unsigned char> dx = result(t, Signs::given, &mask, y, 2);
  require(dx.size == x.size && again.equals(mask), "the gradient has the size of x, and the mask is left alone");
  require(dx.equals(result(t, Signs::given, &mask, y, 5)), "other ranges, the same gradient");
  return read(dtype, y);
}

void require_near(const Memory<float>& a, const Memory<float>& b, const char* what) {
  double error = 0, size = 0;
  for (int64_t i = 0; i < a.size; ++i)
    error += std::pow(a.get()[i] - b.get()[i], 2.0), size += std::pow(b.get()[i], 2.0);
  require(std::sqrt(error) <= 2e-6 * std::sqrt(size), what);
}

const double kNone = std::numeric_limits<double>::infinity();

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const bool last : {false, true}) {
    all.push_back({1, 16, 18, 19, last, 2, 2, 12, 0, 12, 0, 9, 8, 9, 8, 0, 0.5, 1});       // a layer,
    all.push_back({1, 20, 9, 10, last, 4, 2, 24, 0, 12, 12, 18, 19, 18, 19, 0, kNone, 2});  // a radial one,
    all.push_back({1, 3, 9, 10, last, 2, 4, 12, 12, 24, 0, 12, 11, 10, 13, 0, 0.5, 3});     // its derivative
    all.push_back({1, 17, 6, 300, last, 2, 2, 12, 0, 12, 0, 12, 11, 12, 11, 0, 0.5, 4});    // tiles of columns
    all.push_back({1, 1, 150, 5, last, 1, 1, 3, 0, 3, 0, 1, 1, 1, 1, 0, kNone, 5});         // tiles of rows
    all.push_back({2, 1, 3, 60, last, 4, 4, 32, 32, 32, 32, 40, 33, 40, 33, 0, 0.5, 7});    // the longest
    all.push_back({1, 2, 5, 6, last, 2, 2, 7, 0, 5, 3, 30, 2, 3, 40, 5, kNone, 8});         // far from the image
    all.push_back({1, 2, 30, 31, last, 1, 2, 0, 0, 0, 0, -9, -7, -3, -20, -3, 0.5, 9});     // cropped
  }
  Random random{12345};
  for (uint32_t i = 0; i < 60; ++i) {
    const int64_t factors[] = {1, 2, 4}, channels[] = {1, 3, 16, 20, 33};
    const auto any = [&](int64_t least, int64_t most) { return least + random.below(most - least + 1); };
    const auto taps = [&] { return random.below(4) ? any(1, i % 8 ? 12 : 32) : 0; };
    Shape s{any(1, 2), channels[any(0, 4)], any(1, 24), any(1, 40), i % 2 == 0, factors[any(0, 2)], factors[any(0, 2)]};
    s.up_w = taps(), s.down_w = taps();
    s.up_h = s.up_w && random.below(2) ? any(1, 9) : 0;
    s.down_h = s.down_w && random.below(2) ? any(1, 9) : 0;
    s.x0 = any(-3, 20), s.x1 = any(-3, 20), s.y0 = any(-3, 20), s.y1 = any(-3, 20);
    s.clamp = random.below(2) ? 0.4 : kNone, s.seed = i;
    const auto fits = [&](int64_t in, int64_t up, int64_t down, int64_t padding) {
      return in * s.up + padding - up + 1 >= std::max<int64_t>(down, 1);
    };
    if (!fits(s.w, std::max<int64_t>(s.up_w, 1), s.down_w, s.x0 + s.x1)) s.x1 += s.up_w + s.down_w + 3;
    if (!fits(s.h, s.up_h ? s.up_h : std::max<int64_t>(s.up_w, 1), s.down_h ? s.down_h : s.down_w, s.y0 + s.y1))
      s.y1 += 2 * 32 + 3;
    all.push_back(s);
  }
  return all;
}

}  // namespace

int main() {
  const std::vector<Shape> all = shapes();
  const Dtype dtypes[] = {Dtype::float32, Dtype::float16, Dtype::bfloat16};
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    const int has = static_cast<int>(supported(isa));
    require(has <= static_cast<int>(isa), "no better than asked for");
    std::memset(asked, 0, sizeof asked);
    for (const Shape& s : all)
      for (const Dtype dtype : dtypes) {
        if (dtype != Dtype::float32 && (s.seed + has) % 3 != static_cast<uint32_t>(dtype)) continue;
        const Memory<float> y = run(s, dtype, isa);
        if (has > 0 && dtype == Dtype::float32) require_near(y, run(s, dtype, Isa::portable), "as the portable ones");
      }
    require(asked[has] > 0 && (has == 2 || asked[2] == 0), "the kernels of that isa");
    std::printf("%d", has);
  }
  for (const Shape& s : all) {
    plain = false;
    const Memory<float> expected = run(s, Dtype::float32, Isa::portable);
    plain = true;
    require_near(run(s, Dtype::float32, Isa::portable), expected, "plain vectors give the same");
  }
}
