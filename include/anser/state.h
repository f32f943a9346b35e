// The state: everything a model knows of its context, in one block of fixed size.
//
// A State is a value. Copy it to fork a conversation, keep a copy to go back, compare, save, load:
// all O(1) in the length of the context. It belongs to one model (see Model::fingerprint) and is
// only changed by Engine::forward. Different States may be used from different threads.
//
// Content, fp32, per layer l:
//   att_shift [D]      the previous token's input of the time mix, after ln1
//   ffn_shift [D]      the previous token's input of the channel mix, after ln2
//   wkv [H][N][N]      S of every head, row = value index i, column = key index j
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace anser {

struct Hyperparameters;

// The sizes that fix the layout of a state.
struct StateShape {
  int layers = 0;
  int width = 0;      // D
  int heads = 0;      // H
  int head_size = 0;  // N

  size_t layer_floats() const { return 2 * size_t(width) + size_t(width) * head_size; }
  size_t floats() const { return layers * layer_floats(); }
  bool operator==(const StateShape&) const = default;
};

class State {
 public:
  State() = default;                                     // empty: belongs to no model
  State(const StateShape& shape, uint64_t fingerprint);  // zeros

  const StateShape& shape() const { return shape_; }
  uint64_t fingerprint() const { return fingerprint_; }

  // Tokens read since the beginning.
  uint64_t tokens() const { return tokens_; }

  float* att_shift(int layer) { return layer_data(layer); }
  float* ffn_shift(int layer) { return layer_data(layer) + shape_.width; }
  float* wkv(int layer, int head = 0) {
    return layer_data(layer) + 2 * size_t(shape_.width) +
           size_t(head) * shape_.head_size * shape_.head_size;
  }
  const float* att_shift(int layer) const { return const_cast<State*>(this)->att_shift(layer); }
  const float* ffn_shift(int layer) const { return const_cast<State*>(this)->ffn_shift(layer); }
  const float* wkv(int layer, int head = 0) const {
    return const_cast<State*>(this)->wkv(layer, head);
  }
  std::span<const float> data() const { return data_; }

  // The logits [V] after the last token, so that a restored state can be sampled at once; empty
  // before the first token. forward() writes here.
  std::vector<float>& logits() { return logits_; }
  const std::vector<float>& logits() const { return logits_; }

  // Called by the engine after it has fed n tokens.
  void advance(uint64_t n) { tokens_ += n; }

  // Same shape, model, token count, and every number bit for bit.
  bool operator==(const State& other) const;

  // docs/formats.md describes the file. save() replaces the file atomically: a full disk or a crash
  // leaves the old one. load() checks magic, version, sizes and checksum. Both throw Error.
  void save(const std::string& path) const;
  static State load(const std::string& path);
  // The same bytes in memory, for stores and networks. `source` goes into error messages.
  std::vector<std::byte> serialize() const;
  static State deserialize(std::span<const std::byte> bytes, const std::string& source);

 private:
  float* layer_data(int layer) { return data_.data() + layer * shape_.layer_floats(); }

  StateShape shape_;
  uint64_t fingerprint_ = 0;
  uint64_t tokens_ = 0;
  std::vector<float> data_;
  std::vector<float> logits_;
};

}  // namespace anser
