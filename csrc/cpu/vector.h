// SPDX-License-Identifier: Apache-2.0
// Vectors of floats of any width, which compilers turn into whatever the target has.
#pragma once

#if defined(__GNUC__)
#define STYLEGAN_UNROLL _Pragma("GCC unroll 16")
#define STYLEGAN_OPAQUE(p) asm("" : "+r"(p))  // the compiler does not know where p points
#else
#define STYLEGAN_UNROLL
#define STYLEGAN_OPAQUE(p)
#endif
