// SPDX-License-Identifier: Apache-2.0
// What the entry points for ctypes share.
#pragma once

#include <exception>
#include <string>

#define ENTRY extern "C" __attribute__((visibility("default")))

// Null, or what f throws.
template <class F> const char* message(F&& f) {
  static std::string text;
  try {
    f();
    return nullptr;
  } catch (const std::exception& e) {
    text = e.what();
    return text.c_str();
  }
}
