// Which inputs of a block are used: all, or those that are not zero.

// Inputs of a block that take part, in order.
struct Inputs {
  uint8_t index[kBlockInputs + 4];  // 4 more, so that groups of 2 or 4 may be read
  int count;
};

constexpr Inputs all_inputs(int from, int to) {
  Inputs inputs = {};
  for (int i = from; i < to; ++i) inputs.index[inputs.count++] = uint8_t(i);
  return inputs;
}
constexpr Inputs kAllInputs = all_inputs(0, 32), kNoInputs = all_inputs(0, 0);
constexpr Inputs kFirst16 = all_inputs(0, 16), kLast16 = all_inputs(16, 32);

// From one bit an input.
ANSER_INLINE void list_inputs(uint32_t bits, Inputs& inputs) {
  inputs.count = 0;
  for (; bits != 0; bits &= bits - 1) inputs.index[inputs.count++] = uint8_t(__builtin_ctz(bits));
  for (int i = 0; i < 4; ++i) inputs.index[inputs.count + i] = 0;
}

// Bits of the first n inputs of a block that are not zero. NaN is not.
ANSER_INLINE uint32_t not_zero(const float* x, int n) {
  if (n == kBlockInputs) return not_zero_lanes(load(x)) | not_zero_lanes(load(x + kLanes)) << kLanes;
  uint32_t bits = 0;
  for (int i = 0; i < n; ++i) bits |= uint32_t(x[i] != 0) << i;
  return bits;
}
