// SPDX-License-Identifier: Apache-2.0
// Tiling: a task makes a tile of y, some columns by some rows, of one pixel's 16 lanes: 16 channels for channels_last,
// 16 planes for contiguous images, which are transposed to pixels when they are read and back when they are written.
// So every step is a sum of terms factor * row of pixels, and all of them are the same vector loop:
//     x row      with b, zeros outside, into a ring of rows;
//     line       = sum of x rows (up filter along y, only taps that meet a sample);
//     v row      = activation(sum of shifts of the line), one phase of the up filter after another;
//     w row      = sum of shifts of the v row at stride `down`, into a ring of rows;
//     y row      = sum of w rows.
// A 2-D up filter goes from the x rows to the v row at once, a 2-D down filter from a ring of v rows to y; where that
// one is symmetric along y, as radial filters are, rows that share their taps are added first. The rings are in L2,
// and nothing of the up-sampled size exists beyond a few rows. Bound by multiplications: 72 for each element of y with
// 12 taps, up 2 and down 2, against 8 bytes of memory.

#include "filtered_lrelu/cpu/filtered_lrelu.h"

#include <algorithm>

#include "filtered_lrelu/cpu/destination_rows.h"
#include "filtered_lrelu/cpu/down_pass.h"
#include "filtered_lrelu/cpu/mask_rows.h"
#include "filtered_lrelu/cpu/plan.h"
#include "filtered_lrelu/cpu/plane_buffer.h"
#include "filtered_lrelu/cpu/source_rows.h"
#include "filtered_lrelu/cpu/tile.h"
#include "filtered_lrelu/cpu/up_pass.h"
#include "lib/cpu/aligned.h"

namespace stylegan::filtered_lrelu::cpu {
namespace {

// What one thread works with: task after task, it goes down the rows of a tile of y.
class Worker {
 public:
  explicit Worker(const Plan& plan) : plan_(plan) {}
  Worker(const Worker&) = delete;  // its parts refer to each other
  Worker& operator=(const Worker&) = delete;

  void task(int64_t index) {
    begin(index);
    const FirAxis& a = plan_.p.y.down;
    const int64_t at_once = plan_.down.product ? 2 : 1;
    for (int64_t o = tile_.rows.out.begin, count; o < tile_.rows.out.end; o += count) {
      count = std::min(at_once, tile_.rows.out.end - o);
      const int64_t first = std::max<int64_t>(o * a.down - a.origin, 0), last = o + count - 1;
      if (!plan_.keeps) next_ = std::max(next_, first);
      make_middle(std::min(last * a.down - a.origin + a.taps, a.in));
      down_.make_rows(o, count);
    }
    make_middle(tile_.rows.mid.end);  // the rest of the mask
  }

 private:
  void begin(int64_t index) {
    tile_ = Tile(plan_, index);
    arena_.reset(source_.floats() + up_.floats() + down_.floats());
    planes_.begin(plan_, tile_);
    source_.begin(arena_);
    mask_.begin();
    up_.begin(arena_);
    down_.begin(arena_);
    next_ = tile_.rows.mid.begin;
  }

  // Rows of the grid between the filters, up to `end`.
  void make_middle(int64_t end) {
    end = std::min(end, tile_.rows.mid.end);
    for (; next_ < end; ++next_) {
      if (plan_.p.signs == Signs::given) mask_.fetch(next_);
      up_.make_row(next_, down_.v_row(next_) + tile_.mid_offset());
      if (plan_.keeps && tile_.rows.own.has(next_)) mask_.keep(next_);
      down_.take_row(next_);
    }
  }

  const Plan& plan_;
  Tile tile_;
  Arena arena_;
  PlaneBuffer planes_;
  SourceRows source_{plan_, tile_, planes_};
  MaskRows mask_{plan_, tile_};
  UpPass up_{plan_, tile_, source_, mask_};
  DestinationRows destination_{plan_, tile_, planes_};
  DownPass down_{plan_, tile_, destination_};
  int64_t next_ = 0;  // the row of the grid that is made next
};

const Kernels& kernels_of(Isa isa) {
  const Isa has = supported(isa);
  const Kernels* found = has == Isa::avx512 ? avx512_kernels() : has == Isa::avx2 ? avx2_kernels() : nullptr;
  return found == nullptr ? *portable_kernels() : *found;
}

}  // namespace

void run(Dtype dtype, const Params& p, Isa isa, const void* x, void* y, const ParallelFor& parallel_for) {
  const Plan plan(dtype, p, kernels_of(isa), x, y);
  const int64_t grain = ceil_div(kGrainPixels, plan.width * plan.height);
  parallel_for(plan.tasks(), grain, [&](int64_t begin, int64_t end) {
    Worker worker(plan);
    for (int64_t task = begin; task < end; ++task) worker.task(task);
  });
}

}  // namespace stylegan::filtered_lrelu::cpu
