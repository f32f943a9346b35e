// Whole arrays to a device and back, for tests that poison and guard them by themselves.
#pragma once

#include <vector>

#include "cuda/runtime.h"

namespace anser {

template <class T>
cuda::Buffer on_device(cuda::Stream& stream, const std::vector<T>& values) {
  cuda::Buffer made(values.size() * sizeof(T));
  stream.upload(made.data(), values.data(), made.bytes());
  stream.wait();
  return made;
}

template <class T>
std::vector<T> from_device(cuda::Stream& stream, const cuda::Buffer& buffer, size_t count) {
  std::vector<T> values(count);
  stream.download(values.data(), buffer.data(), count * sizeof(T));
  stream.wait();
  return values;
}

// All of it.
template <class T>
std::vector<T> from_device(cuda::Stream& stream, const cuda::Buffer& buffer) {
  return from_device<T>(stream, buffer, buffer.bytes() / sizeof(T));
}

}  // namespace anser
