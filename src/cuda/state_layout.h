// A state as it lies in device memory: the numbers of State in their order, fp32 or, with f16, the
// matrices of every layer rounded to halves, two in a float's place. Shifts are always fp32, at the
// same offsets within a layer.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "anser/state.h"
#include "base/half.h"

namespace anser {

struct StateLayout {
  StateShape shape;
  bool f16 = false;

  size_t shift_floats() const { return 2 * size_t(shape.width); }  // of a layer
  size_t wkv_numbers() const { return shape.layer_floats() - shift_floats(); }
  size_t layer_floats() const { return shift_floats() + wkv_numbers() / (f16 ? 2 : 1); }
  size_t floats() const { return size_t(shape.layers) * layer_floats(); }

  // Between State::data() and a block of floats(), both of them the host's. Rounds to nearest; what
  // is above 65504 becomes infinite. Back again is exact.
  void pack(std::span<const float> numbers, std::span<float> block) const;
  void unpack(std::span<const float> block, std::span<float> numbers) const;
};

inline void StateLayout::pack(std::span<const float> numbers, std::span<float> block) const {
  if (!f16) {
    std::copy(numbers.begin(), numbers.end(), block.begin());
    return;
  }
  for (int layer = 0; layer < shape.layers; ++layer) {
    const float* from = numbers.data() + size_t(layer) * shape.layer_floats();
    float* to = block.data() + size_t(layer) * layer_floats();
    std::copy_n(from, shift_floats(), to);
    auto* halves = reinterpret_cast<std::byte*>(to + shift_floats());
    for (size_t i = 0; i < wkv_numbers(); ++i) {
      const uint16_t half = f32_to_f16(from[shift_floats() + i]);
      std::memcpy(halves + 2 * i, &half, 2);
    }
  }
}

inline void StateLayout::unpack(std::span<const float> block, std::span<float> numbers) const {
  if (!f16) {
    std::copy(block.begin(), block.end(), numbers.begin());
    return;
  }
  for (int layer = 0; layer < shape.layers; ++layer) {
    const float* from = block.data() + size_t(layer) * layer_floats();
    float* to = numbers.data() + size_t(layer) * shape.layer_floats();
    std::copy_n(from, shift_floats(), to);
    const auto* halves = reinterpret_cast<const std::byte*>(from + shift_floats());
    for (size_t i = 0; i < wkv_numbers(); ++i) {
      uint16_t half;
      std::memcpy(&half, halves + 2 * i, 2);
      to[shift_floats() + i] = f16_to_f32(half);
    }
  }
}

}  // namespace anser
