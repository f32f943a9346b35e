// Files of states as clients upload them: a state file, or a tuned initial state in a file of
// tensors. Anything but an Error is a bug, and what is accepted has numbers that are ones.
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "anser/error.h"
#include "anser/model.h"
#include "anser/state.h"
#include "base/check.h"
#include "cost.h"
#include "formats/tensor_file.h"
#include "model/tuned_state.h"

namespace {

using namespace anser;

void read_state(std::span<const std::byte> bytes) {
  try {
    const State state = State::deserialize(bytes, "fuzz");
    // Counts of tokens are added to, and told in JSON.
    ANSER_CHECK(state.tokens() <= uint64_t(INT64_MAX));
    const StateShape& shape = state.shape();
    for (int layer = 0; layer < shape.layers; ++layer) {
      const float* numbers = state.att_shift(layer);
      ANSER_CHECK(std::all_of(numbers, numbers + shape.layer_floats(),
                              [](float number) { return std::isfinite(number); }));
    }
    ANSER_CHECK(State::deserialize(state.serialize(), "again").tokens() == state.tokens());
  } catch (const Error& error) {
    ANSER_CHECK(std::string(error.what()).starts_with("fuzz"));
  }
}

void read_tuned_state(std::span<const std::byte> bytes) {
  static const Hyperparameters sizes = {.vocab = 16,
                                        .width = 4,
                                        .layers = 1,
                                        .heads = 2,
                                        .head_size = 2,
                                        .ffn = 16,
                                        .rank_w = 1,
                                        .rank_a = 1,
                                        .rank_v = 0,
                                        .rank_g = 1};
  try {
    const TensorFile file = parse_tensor_bytes(bytes, "fuzz");
    if (!has_tuned_state(file)) return;
    State state(StateShape{1, 4, 2, 2}, 0);
    load_tuned_state(file, sizes, state);
  } catch (const Error&) {
  }
}

// With the checksum at its end that a fuzzer would not find.
std::vector<std::byte> with_checksum(std::span<const std::byte> bytes) {
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  if (file.size() < sizeof(uint64_t)) return file;
  const size_t end = file.size() - sizeof(uint64_t);
  const uint64_t checksum = XXH3_64bits(file.data(), end);
  std::memcpy(file.data() + end, &checksum, sizeof checksum);
  return file;
}

void read(std::span<const std::byte> bytes) {
  read_state(bytes);
  read_state(with_checksum(bytes));
  read_tuned_state(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  fuzz::bound_cost("a state", size, [&] { read(bytes); });
  if (fuzz::grows(data, size)) {
    const std::string many = fuzz::repeated({reinterpret_cast<const char*>(data), size});
    fuzz::bound_cost("a repeated state", many.size(),
                     [&] { read(std::as_bytes(std::span(many))); });
  }
  return 0;
}
