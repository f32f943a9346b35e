// What holds after every reader of tensors has returned, whatever the bytes were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>

#include "anser/error.h"
#include "base/check.h"
#include "cost.h"
#include "formats/tensor_file.h"

inline void check_tensor(const anser::FileTensor& tensor, std::span<const std::byte> file) {
  ANSER_CHECK(!tensor.name.empty());
  ANSER_CHECK(tensor.shape.size() <= 8);
  ANSER_CHECK(tensor.strides.size() == tensor.shape.size());
  const int64_t elements = tensor.elements();
  ANSER_CHECK(elements >= 0);
  if (tensor.type == anser::DType::unsupported || elements == 0) {
    ANSER_CHECK(tensor.bytes.empty());
    return;
  }
  ANSER_CHECK(tensor.bytes.data() >= file.data());
  ANSER_CHECK(tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size());
  // The largest index that the strides reach is the last element of the span.
  if (tensor.contiguous()) {
    ANSER_CHECK(tensor.bytes.size() == anser::dtype_bytes(tensor.type, size_t(elements)));
  } else {
    int64_t last = 0;
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      last += (tensor.shape[i] - 1) * tensor.strides[i];
    }
    ANSER_CHECK(tensor.bytes.size() == anser::dtype_bytes(tensor.type, size_t(last) + 1));
  }
  // For the address sanitizer.
  const volatile std::byte first = tensor.bytes.front(), end = tensor.bytes.back();
  (void)first;
  (void)end;
}

template <typename Parse>
void check_parsed(Parse parse, const uint8_t* data, size_t size) {
  const std::span file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const anser::TensorFile parsed = parse(file, std::string("fuzz"));
    std::set<std::string> names;
    for (const anser::FileTensor& tensor : parsed.tensors) {
      check_tensor(tensor, file);
      ANSER_CHECK(names.insert(tensor.name).second);
    }
  } catch (const anser::Error& error) {
    // Every message says which file.
    ANSER_CHECK(std::string(error.what()).starts_with("fuzz: "));
  }
}

// `parse` returns a TensorFile or throws Error; anything else is a bug, and so is what costs more
// than its bytes.
template <typename Parse>
void check_parser(Parse parse, const uint8_t* data, size_t size) {
  fuzz::bound_cost("a file of tensors", size, [&] { check_parsed(parse, data, size); });
  if (fuzz::grows(data, size)) {
    const std::string many = fuzz::repeated({reinterpret_cast<const char*>(data), size});
    const auto* bytes = reinterpret_cast<const uint8_t*>(many.data());
    fuzz::bound_cost("a repeated file", many.size(),
                     [&] { check_parsed(parse, bytes, many.size()); });
  }
}
