#include "model/save_safetensors.h"

#include <fmt/format.h>

#include <algorithm>

#include "anser/error.h"
#include "checkpoint/chat_clues.h"
#include "formats/safetensors_writer.h"
#include "model/dequantize.h"
#include "model/purpose.h"
#include "model/quantize.h"
#include "text/chat/choose_template.h"

namespace anser {
namespace {

bool holds_exactly(DType type, const Vector& values) {
  std::vector<std::byte> stored(dtype_bytes(type, values.size()));
  Vector back(values.size());
  quantize_row(type, values.data(), int64_t(values.size()), stored.data());
  dequantize_row(type, stored.data(), int64_t(values.size()), back.data());
  return back == values;
}

class Collector {
 public:
  Collector(const SaveOptions& options, const Hyperparameters& h)
      : type_(options.type), keep_plain_(options.keep_plain), h_(h) {}

  void vector(const std::string& name, const Vector& values, int size) {
    // Of norms [D]; r_k is [H][N]; the others have two dimensions more, as PyTorch broadcasts them.
    std::vector<int64_t> shape = {1, 1, size};
    if (name.find("ln") != std::string::npos) shape = {size};
    if (name.ends_with(".r_k")) shape = {h_.heads, h_.head_size};
    numbers(name, std::move(shape), values);
  }
  void matrix(const std::string& name, const Matrix& m, int rows, int cols) {
    tensors.push_back({name, type_of(m), {rows, cols}, &m, false, {}});
  }
  void low_rank(const std::string& name, const Matrix& m, int rows, int cols) {
    tensors.push_back({name, type_of(m), {cols, rows}, &m, true, {}});
  }
  void numbers(const std::string& name, std::vector<int64_t> shape, Vector values) {
    const DType type = holds_exactly(type_, values) ? type_ : DType::f32;
    tensors.push_back({name, type, std::move(shape), nullptr, false, std::move(values)});
  }

  std::vector<SavedTensor> tensors;

 private:
  DType type_of(const Matrix& m) const {
    return keep_plain_ && block_elements(m.type) == 1 ? m.type : type_;
  }

  DType type_;
  bool keep_plain_;
  const Hyperparameters& h_;
};

// The state that every context begins with, if it is not zero: stored with the key index first.
void add_time_state(const Model& model, Collector& collector) {
  const Hyperparameters& h = model.hyperparameters();
  const State state = model.initial_state();
  const size_t N = size_t(h.head_size), size = size_t(h.heads) * N * N;
  const auto is_zero = [](float x) { return x == 0; };
  bool zero = true;
  for (int l = 0; l < h.layers; ++l) {
    zero = zero && std::all_of(state.wkv(l), state.wkv(l) + size, is_zero);
  }
  for (int l = 0; l < h.layers && !zero; ++l) {
    Vector transposed(size);
    for (size_t at = 0; at < size; ++at) {
      const size_t head = at / (N * N), i = at / N % N, j = at % N;
      transposed[(head * N + j) * N + i] = state.wkv(l)[at];
    }
    collector.numbers(fmt::format("blocks.{}.att.time_state", l),
                      {h.heads, h.head_size, h.head_size}, std::move(transposed));
  }
}

}  // namespace

void save_safetensors(const Model& model, const std::string& path, const SaveOptions& options) {
  const Hyperparameters& h = model.hyperparameters();
  check_group_norm(model);
  const float usual = Hyperparameters().norm_eps;
  if (h.norm_eps != usual) {
    throw Error(
        fmt::format("{}: the epsilon of its layer norms is {}, and safetensors files of "
                    "RWKV-7 have no place for it: readers take {}. GGUF has one.",
                    model.path(), h.norm_eps, usual));
  }
  Collector collector(options, h);
  visit_weights(model.weights(), h, collector);
  add_time_state(model, collector);
  std::stable_partition(collector.tensors.begin(), collector.tensors.end(),
                        [](const SavedTensor& tensor) { return tensor.type == DType::f32; });

  SafetensorsWriter file(path);
  const auto as_text = [&](const std::string& key, const auto& value) {
    file.text(key, fmt::format("{}", value));
  };
  write_purpose(model, {as_text, as_text, as_text});
  // Also where there is no folder any more, or the name was the old file's.
  const std::string chat = chat_template_to_write(model), name = telling_name(model.chat_clues());
  if (!chat.empty()) file.text(kChatTemplateKey, chat);
  if (!name.empty()) file.text(kNameKey, name);
  for (const SavedTensor& tensor : collector.tensors) {
    file.tensor(tensor.name, tensor.type, tensor.shape);
  }
  write_tensors(collector.tensors, model, options,
                [&](std::span<const std::byte> bytes) { file.data(bytes); });
  file.finish();
}

std::string vocabulary_text(const Tokenizer& tokenizer) {
  std::string text;
  for (Token id = 0; id < tokenizer.size(); ++id) {
    const std::string_view bytes = tokenizer.bytes_of(id);
    if (bytes.empty()) continue;
    text += fmt::format("{} b'", id);
    for (const char c : bytes) {
      const bool plain = c >= ' ' && c <= '~' && c != '\'' && c != '\\';
      text += plain ? std::string(1, c) : fmt::format("\\x{:02x}", uint8_t(c));
    }
    text += fmt::format("' {}\n", bytes.size());
  }
  return text;
}

}  // namespace anser
