// SPDX-License-Identifier: Apache-2.0
// The layers of networks, and their derivatives, take the streaming kernel (stream.cuh), everything else
// the general one (general.cuh).

#include "filtered_lrelu/cuda/filtered_lrelu.cuh"

#include "filtered_lrelu/cuda/general.cuh"
#include "filtered_lrelu/cuda/streamed.cuh"

namespace stylegan::filtered_lrelu::cuda {

void run(Dtype dtype, const Params& f, const void* x, void* y, cudaStream_t stream) {
  with_stored(dtype, [&](auto s) {
    using S = decltype(s);
    if constexpr (sizeof(S) < sizeof(double)) {
      const S* from = static_cast<const S*>(x);
      S* to = static_cast<S*>(y);
      if (!try_stream(f, from, to, stream)) run_general(f, from, to, stream);
    } else {
      throw std::invalid_argument("filtered_lrelu: no kernel for float64");
    }
  });
}

}  // namespace stylegan::filtered_lrelu::cuda
