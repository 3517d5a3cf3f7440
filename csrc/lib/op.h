// SPDX-License-Identifier: Apache-2.0
// How a function that takes a record becomes an op of PyTorch.
//
// The dispatcher passes a stack of values in the order of the op's schema. Each value is converted once, in this order,
// into a field of the record. In contrast to TORCH_BOX, no list of 10 to 18 parameters has to match the schema by
// position, and tensors are moved instead of copied. Source: torch/csrc/stable/library.h.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace stylegan {

using Library = torch::stable::detail::StableLibrary;

// The arguments of a call, one after another. A conversion takes over the reference that the stack owns.
class StackReader {
 public:
  explicit StackReader(const StableIValue* next) : next_(next) {}
  operator torch::stable::Tensor() { return next<torch::stable::Tensor>(); }
  operator std::optional<torch::stable::Tensor>() { return next<std::optional<torch::stable::Tensor>>(); }
  operator std::vector<int64_t>() { return next<std::vector<int64_t>>(); }
  operator int64_t() { return next<int64_t>(); }
  operator double() { return next<double>(); }
  operator bool() { return next<bool>(); }

 private:
  template <class T> T next() { return torch::stable::detail::to<T>(*next_++); }

  const StableIValue* next_;
};

template <class Record, class Indices, class = void> struct TakesArguments : std::false_type {};
template <class Record, size_t... I>
struct TakesArguments<Record, std::index_sequence<I...>,
                      std::void_t<decltype(Record{(static_cast<void>(I), std::declval<StackReader&>())...})>>
    : std::true_type {};

constexpr size_t kMaxArguments = 24;

// How many arguments initialize the fields of a record, and those of records inside it.
template <class Record, size_t N = kMaxArguments> constexpr size_t argument_count() {
  if constexpr (TakesArguments<Record, std::make_index_sequence<N>>::value)
    return N;
  else
    return argument_count<Record, N - 1>();
}

template <class Record, size_t... I> Record read_record(StackReader reader, std::index_sequence<I...>) {
  return Record{(static_cast<void>(I), reader)...};  // braces are evaluated from left to right
}

template <class... T> std::tuple<T...> as_tuple(std::tuple<T...>&& results) { return std::move(results); }
template <class T> std::tuple<T> as_tuple(T&& result) { return {std::move(result)}; }

// The results, in place of the arguments.
template <class... T> void write_results(StableIValue* stack, const std::tuple<T...>& results) {
  std::apply([&](const T&... result) { ((*stack++ = torch::stable::detail::from(result)), ...); }, results);
}

template <class Function> struct Signature;
template <class R, class A> struct Signature<R (*)(A)> {
  using Result = R;
  using Record = A;
};

// kFunction(record) by the calling convention of the dispatcher.
template <auto kFunction> void boxed(StableIValue* stack, uint64_t arguments, uint64_t results) {
  using Result = typename Signature<decltype(kFunction)>::Result;
  using Record = typename Signature<decltype(kFunction)>::Record;
  constexpr size_t kCount = argument_count<Record>();
  STD_TORCH_CHECK(arguments == kCount, "the schema has ", arguments, " arguments, the record ", kCount);
  Record record = read_record<Record>(StackReader(stack), std::make_index_sequence<kCount>());
  if constexpr (std::is_void_v<Result>) {
    STD_TORCH_CHECK(results == 0, "the schema has ", results, " results, the function none");
    kFunction(std::move(record));
  } else {
    const auto made = as_tuple(kFunction(std::move(record)));
    constexpr size_t kResults = std::tuple_size_v<std::decay_t<decltype(made)>>;
    STD_TORCH_CHECK(results == kResults, "the schema has ", results, " results, the function ", kResults);
    write_results(stack, made);
  }
}

// Registers kFunction, which takes a record.
template <auto kFunction> void implement(Library& m, const char* name) { m.impl(name, boxed<kFunction>); }

// The same under both names of an op: the public one, over which Python puts autograd, and `raw`, which the eager path
// calls from inside its own autograd.Function without a detour.
template <auto kFunction> void implement_with_raw(Library& m, const std::string& name) {
  implement<kFunction>(m, name.c_str());
  implement<kFunction>(m, (name + ".raw").c_str());
}

}  // namespace stylegan
