// SPDX-License-Identifier: Apache-2.0
// Marks functions that nvcc compiles for both sides; a plain C++ compiler sees `inline`.
#pragma once

#if defined(__CUDACC__)
#define STYLEGAN_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define STYLEGAN_HOST_DEVICE inline
#endif
