#include "model/save_safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "anser/error.h"
#include "checkpoint/chat_clues.h"
#include "checkpoint/description.h"
#include "checkpoint/find_tokenizer.h"
#include "formats/safetensors_writer.h"
#include "model/dequantize.h"
#include "model/purpose.h"
#include "model/quantize.h"
#include "model/tuned_state.h"
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

// The file holds no vocabulary. It says so where the model has none that could be read, lest
// another be taken for it; and it says in what tokens a text begins and ends where that is not
// usual.
void write_tokens_said(SafetensorsWriter& file, const Model& model) {
  if (!model.has_tokenizer()) return file.text(kModelKey, kNoVocabulary);
  const Tokenizer& tokenizer = model.tokenizer();
  const Tokenizer usual = tokenizer.with_ends(std::nullopt, {});
  if (tokenizer.eos() != usual.eos()) {
    file.text(kAllEosKey, fmt::format("{}", fmt::join(tokenizer.eos(), ",")));
  }
  if (tokenizer.bos() && tokenizer.bos() != usual.bos()) {
    file.text(kBosKey, fmt::format("{}", *tokenizer.bos()));
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
  visit_tuned_state(model, [&](const auto& name, auto shape, auto values) {
    collector.numbers(name, std::move(shape), std::move(values));
  });
  std::stable_partition(collector.tensors.begin(), collector.tensors.end(),
                        [](const SavedTensor& tensor) { return tensor.type == DType::f32; });

  SafetensorsWriter file(path);
  const auto as_text = [&](const std::string& key, const auto& value) {
    file.text(key, fmt::format("{}", value));
  };
  write_purpose(model, {as_text, as_text, as_text});
  // Who does not know this word finds no blocks.0.ln0, and must refuse.
  if (!h.embedding_norm) file.text(kEmbeddingNormFused, "true");
  write_tokens_said(file, model);
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
