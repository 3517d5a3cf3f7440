// SPDX-License-Identifier: Apache-2.0
// The Python module: importing it loads the registrations beside it, build_info() says what they are.
#include <pybind11/pybind11.h>

#include <string>

#include "build_info.h"  // written by stylegan_ops/_build.py: STYLEGAN_BUILD_INFO(X), X(name, "text") each

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("build_info", [] {
    pybind11::dict info;
#if defined(__clang__)
    info["compiler"] = "clang " __clang_version__;
#elif defined(__GNUC__)
    info["compiler"] = "gcc " __VERSION__;
#elif defined(_MSC_VER)
    info["compiler"] = "msvc " + std::to_string(_MSC_VER);
#endif
    info["date"] = __DATE__;
    info["torch_abi"] = std::to_string(TORCH_TARGET_VERSION >> 56) + "." +
                        std::to_string(TORCH_TARGET_VERSION >> 48 & 0xff);
#define STYLEGAN_SET(name, text) info[name] = text;
    STYLEGAN_BUILD_INFO(STYLEGAN_SET)
    return info;
  });
}
