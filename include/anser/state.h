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
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace anser {

struct Hyperparameters;
class ModelSketch;  // src/model/model_sketch.h

// The sizes that fix the layout of a state.
struct StateShape {
  int layers = 0;
  int width = 0;      // D
  int heads = 0;      // H
  int head_size = 0;  // N

  size_t layer_floats() const { return 2 * size_t(width) + size_t(width) * head_size; }
  size_t floats() const { return layers * layer_floats(); }
  // Of a head's S within its layer.
  size_t wkv_offset(int head) const {
    return 2 * size_t(width) + size_t(head) * head_size * head_size;
  }
  bool operator==(const StateShape&) const = default;
};

// A state that a device works on, held in its memory: its numbers and, behind them, its logits.
// Made by an engine.
class RemoteState {
 public:
  virtual ~RemoteState() = default;
  // Wait for the device and copy all numbers, or the logits, to `to`. Throw Error when the device
  // or a step that it was given has failed.
  virtual void fetch(std::span<float> to) const = 0;
  virtual void fetch_logits(std::span<float> to) const = 0;
  // A copy of both in the device's memory; nullptr when there is no room for it.
  virtual std::shared_ptr<RemoteState> copy() const = 0;
};

// What to tell a user of a state whose identity is not known; its name goes in front.
inline constexpr char kUnknownIdentity[] =
    "was saved by an older version and does not say which fine-tune of the model it belongs to; "
    "going on from it and saving that will";

class State {
 public:
  State() = default;                                    // empty: belongs to no model
  State(const StateShape& shape, uint64_t fingerprint,  // zeros
        std::shared_ptr<const ModelSketch> sketch = nullptr);

  const StateShape& shape() const { return shape_; }
  uint64_t fingerprint() const { return fingerprint_; }

  // What tells the model from fine-tunes with its fingerprint. Unknown (nullptr) for states out of
  // files of version 1, until an engine has advanced them. belongs_to() is for engines, and for who
  // knows better.
  bool identity_known() const { return sketch_ != nullptr; }
  const std::shared_ptr<const ModelSketch>& sketch() const { return sketch_; }
  void belongs_to(std::shared_ptr<const ModelSketch> sketch) { sketch_ = std::move(sketch); }

  // Tokens read since the beginning. A file that claims more than kMaxTokens, which no text of
  // thousands of years reaches, is refused: sums of such numbers would be none, and JSON has them
  // exactly up to here.
  static constexpr uint64_t kMaxTokens = uint64_t{1} << 53;
  uint64_t tokens() const { return tokens_; }

  // A state that nobody has written to yet is zeros that take no memory. Copies share their numbers
  // until one of them is written to: until then a fork, or a state kept for later, costs nothing.
  // They may belong to different threads. A pointer to write by is good until the state is copied.
  //
  // A state that a device has advanced stays in the device's memory, and its copies, too. Its
  // numbers, and apart from them its logits, are fetched when they are first looked at, so looking
  // at one State from two threads at once needs a lock. By the functions that let them be changed
  // they come back to the host for good; the device then takes the numbers over anew at its next
  // step. Looking throws Error when the device, or a step that it was given, has failed.
  float* att_shift(int layer) { return layer_data(layer); }
  float* ffn_shift(int layer) { return layer_data(layer) + shape_.width; }
  float* wkv(int layer, int head = 0) { return layer_data(layer) + shape_.wkv_offset(head); }
  const float* att_shift(int layer) const { return data().data() + layer_offset(layer); }
  const float* ffn_shift(int layer) const { return att_shift(layer) + shape_.width; }
  const float* wkv(int layer, int head = 0) const {
    return att_shift(layer) + shape_.wkv_offset(head);
  }
  std::span<const float> data() const { return content_.numbers(); }

  // The logits [V] after the last token, so that a restored state can be sampled at once; empty
  // before the first token. forward() writes here.
  std::vector<float>& logits() { return content_.change_logits(); }
  const std::vector<float>& logits() const { return content_.logits(); }
  // Whether there are any, without fetching them.
  bool has_logits() const { return content_.logit_count() > 0; }

  // The last bytes of the text that has been read, 7 at the most: they tell whether it ends within
  // a character, or with a part of what ends a turn.
  const std::string& text_end() const { return text_end_; }

  // Called by the engine after it has fed n tokens, and for the bytes of the last ones.
  void advance(uint64_t n) { tokens_ += n; }
  static constexpr size_t kTextEnd = 7;
  void read_text(std::string_view bytes);

  // For engines: the state in a device's memory, if that is where the numbers are. Taking a remote
  // state makes it the truth about the numbers, and take_logits() about the logits, `count` of
  // them; 0: the state has none. remote_logits(): how many lie in remote(), whether fetched or not.
  const std::shared_ptr<RemoteState>& remote() const { return content_.remote(); }
  void take(std::shared_ptr<RemoteState> remote) { content_.take(std::move(remote)); }
  void take_logits(size_t count) { content_.take_logits(count); }
  size_t remote_logits() const { return content_.remote_logits(); }
  // All zero, and nowhere yet: a device makes its own zeros.
  bool untouched() const { return content_.untouched(); }

  // Same shape, fingerprint, token count, end of the text, and every number bit for bit.
  bool operator==(const State& other) const;

  // docs/formats.md describes the file. save() replaces the file atomically: a full disk or a crash
  // leaves the old one. load() checks magic, version, sizes and checksum. Both throw Error, also
  // for numbers that are not finite. A state of unknown identity makes a file of version 1.
  void save(const std::string& path) const;
  static State load(const std::string& path);
  // The same bytes in memory, for stores and networks. `source` goes into error messages.
  std::vector<std::byte> serialize() const;
  static State deserialize(std::span<const std::byte> bytes, const std::string& source);

 private:
  // The numbers and the logits of a state, wherever they are.
  class Content {
   public:
    Content() = default;
    explicit Content(size_t count) : count_(count) {}
    Content(const Content& other);
    Content(Content&& other) noexcept { *this = std::move(other); }
    Content& operator=(const Content& other) { return *this = Content(other); }
    Content& operator=(Content&& other) noexcept;

    const std::vector<float>& numbers() const;
    std::vector<float>& change_numbers();
    const std::vector<float>& logits() const;
    std::vector<float>& change_logits();
    bool same_numbers(const Content& other) const;
    size_t logit_count() const { return remote_logits_ > 0 ? remote_logits_ : logits_.size(); }

    bool untouched() const { return remote_ == nullptr && numbers_ == nullptr; }
    const std::shared_ptr<RemoteState>& remote() const { return remote_; }
    size_t remote_logits() const { return remote_logits_; }
    void take(std::shared_ptr<RemoteState> remote);
    void take_logits(size_t count);

   private:
    size_t count_ = 0;  // of numbers
    // On the host, perhaps also in copies. None: they are all zero, or in remote_; they come when
    // they are looked at.
    mutable std::shared_ptr<std::vector<float>> numbers_;
    mutable std::vector<float> logits_;
    std::shared_ptr<RemoteState> remote_;
    size_t remote_logits_ = 0;  // that remote_ has; 0: the truth about the logits is logits_
    // The truth is in remote_ only.
    mutable bool numbers_are_stale_ = false, logits_are_stale_ = false;
  };

  size_t layer_offset(int layer) const { return layer * shape_.layer_floats(); }
  float* layer_data(int layer) { return content_.change_numbers().data() + layer_offset(layer); }

  StateShape shape_;
  uint64_t fingerprint_ = 0;
  std::shared_ptr<const ModelSketch> sketch_;
  uint64_t tokens_ = 0;
  std::string text_end_;
  Content content_;
};

}  // namespace anser
