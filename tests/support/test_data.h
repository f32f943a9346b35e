// Test data from elsewhere that is not part of the repository. Tests that want it skip without it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "reference/rwkv7_reference.h"

namespace support {

// The path of a file in the folder ANSER_TEST_DATA (environment), else in shared/testdata beside
// the source tree; nothing when it is not there.
std::optional<std::string> test_data(const std::string& name);

std::vector<float> read_f32(const std::string& path);  // little endian

// A .safetensors file of F32 tensors under original names as a reference model. A small reader of
// its own: the reference must not depend on the one that is tested.
reference::Model read_reference_model(const std::string& path);

}  // namespace support

// In a test body: ANSER_TEST_DATA_OR_SKIP(path, "tiny-834k.safetensors"); makes a std::string of
// the path, or skips the test.
#define ANSER_TEST_DATA_OR_SKIP(variable, name)                                       \
  const auto variable##_found = ::support::test_data(name);                           \
  if (!variable##_found) GTEST_SKIP() << (name) << " is not in the test data folder"; \
  const std::string variable = *variable##_found
