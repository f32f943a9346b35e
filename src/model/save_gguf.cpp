#include "model/save_gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "checkpoint/chat_clues.h"
#include "checkpoint/description.h"
#include "checkpoint/find_tokenizer.h"
#include "checkpoint/gguf_names.h"
#include "formats/gguf_writer.h"
#include "formats/tensor_file.h"
#include "model/purpose.h"
#include "model/quantize_mix.h"
#include "text/chat/builtin_templates.h"
#include "text/chat/choose_template.h"
#include "text/chat/jinja_template.h"

namespace anser {
namespace {

constexpr const char *kFileTypeKey = "general.file_type",
                     *kQuantisationKey = "general.quantization_version";

// The tensors of the file, in checkpoint order.
class Collector {
 public:
  explicit Collector(DType type) : type_(type) {}

  void vector(const std::string& name, const Vector& values, int size) {
    if (name.find(".att.x_") != std::string::npos) return lerp(name, values, size);
    SavedTensor tensor{gguf_from_original(name), DType::f32, {size}, nullptr, false, values};
    if (name.ends_with(".ffn.x_k")) tensor.shape = {1, 1, size};
    add(name, std::move(tensor));
  }
  void matrix(const std::string& name, const Matrix& m, int rows, int cols) {
    add(name,
        {gguf_from_original(name), matrix_type(name, cols, type_), {rows, cols}, &m, false, {}});
  }
  void low_rank(const std::string& name, const Matrix& m, int rows, int cols) {
    matrix(name, m, rows, cols);
  }

  std::vector<SavedTensor> tensors;

 private:
  // The six token-shift vectors of a layer are one tensor.
  void lerp(const std::string& name, const Vector& values, int size) {
    lerp_.insert(lerp_.end(), values.begin(), values.end());
    if (!name.ends_with("x_g")) return;
    tensors.push_back(
        {gguf_from_original(name), DType::f32, {6, 1, 1, size}, nullptr, false, std::move(lerp_)});
    lerp_.clear();
  }

  // llama.cpp wants layer 0's unused value residual to be there, in the shapes of a0, a1 and a2.
  void add(const std::string& name, SavedTensor tensor) {
    constexpr std::string_view kRate = "blocks.0.att.a";
    if (name.starts_with(kRate)) {
      SavedTensor unused = tensor;
      unused.name = gguf_from_original(fmt::format("blocks.0.att.v{}", name.substr(kRate.size())));
      tensors.push_back(std::move(unused));
    }
    tensors.push_back(std::move(tensor));
  }

  DType type_;
  Vector lerp_;
};

// llama.cpp's numbers for the type of a whole file. The K mixes are those that it calls medium.
uint32_t file_type(DType type) {
  switch (type) {
    case DType::f32:
      return 0;
    case DType::f16:
      return 1;
    case DType::q4_0:
      return 2;
    case DType::q8_0:
      return 7;
    case DType::q5_0:
      return 8;
    case DType::q4_k:
      return 15;
    case DType::q5_k:
      return 17;
    case DType::q6_k:
      return 18;
    case DType::bf16:
      return 32;
    default:
      ANSER_CHECK(!"a type that can be written");
  }
}

// What a GGUF file says besides its sizes.
std::map<std::string, MetaValue> metadata_of(const Model& model) {
  // The model forgets it, for it holds the vocabulary; so it is read once more.
  std::error_code ignored;
  if (!std::filesystem::exists(model.path(), ignored)) return {};  // embedded
  TensorFile file = open_tensor_file(model.path());
  return file.format == FileFormat::gguf ? std::move(file.metadata)
                                         : std::map<std::string, MetaValue>();
}

void write_general(GgufWriter& file, const Model& model,
                   const std::map<std::string, MetaValue>& before, DType type) {
  file.text("general.architecture", "rwkv7");
  file.text("general.type", "model");
  if (before.count(kNameKey) == 0) {
    const std::filesystem::path path(model.path());
    const std::string told = telling_name(model.chat_clues());
    file.text(kNameKey, told.empty()
                            ? (path.has_filename() ? path : path.parent_path()).stem().string()
                            : told);
  }
  for (const auto& [key, value] : before) {
    // Written here, whatever stands there, a text where a number belongs among it.
    if (!key.starts_with("general.") || key == "general.architecture" || key == "general.type" ||
        key == kFileTypeKey || key == kQuantisationKey || is_purpose_key(key)) {
      continue;
    }
    if (const auto* text = std::get_if<std::string>(&value)) file.text(key, *text);
    if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) file.texts(key, *texts);
    // Of samplers that only llama.cpp has.
    if (!key.starts_with("general.sampling.")) continue;
    if (const auto* real = std::get_if<double>(&value)) file.real(key, float(*real));
    if (const auto* integer = std::get_if<int64_t>(&value);
        integer != nullptr && *integer == int32_t(*integer)) {
      file.integer(key, int32_t(*integer));
    }
  }
  write_purpose(model, {[&](const auto& key, const auto& value) { file.text(key, value); },
                        [&](const auto& key, float value) { file.real(key, value); },
                        [&](const auto& key, int value) { file.integer(key, value); }});
  file.number(kFileTypeKey, file_type(type));
  file.number(kQuantisationKey, 2);
}

void write_sizes(GgufWriter& file, const Hyperparameters& h) {
  file.number("rwkv7.context_length", 1 << 20);  // there is no limit; converters write this
  file.number("rwkv7.embedding_length", uint32_t(h.width));
  file.number("rwkv7.block_count", uint32_t(h.layers));
  file.number("rwkv7.feed_forward_length", uint32_t(h.ffn));
  file.number("rwkv7.vocab_size", uint32_t(h.vocab));
  file.number("rwkv7.attention.head_count", 0);  // llama.cpp wants the key and not the number
  file.real("rwkv7.attention.layer_norm_epsilon", h.norm_eps);
  file.number("rwkv7.attention.decay_lora_rank", uint32_t(h.rank_w));
  file.number("rwkv7.attention.iclr_lora_rank", uint32_t(h.rank_a));
  file.number("rwkv7.attention.value_residual_mix_lora_rank", uint32_t(h.rank_v));
  file.number("rwkv7.attention.gate_lora_rank", uint32_t(h.rank_g));
  file.number("rwkv7.wkv.head_size", uint32_t(h.head_size));
  file.number("rwkv7.token_shift_count", 2);
  // There is no common word for it. Who does not know ours finds no token_embd_norm, and must
  // refuse.
  if (!h.embedding_norm) file.flag(kEmbeddingNormFused, true);
}

// The inside of Python's repr of the bytes, as the reader undoes it.
std::string escape_token(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    if (c == '\t') {
      text += "\\t";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\r') {
      text += "\\r";
    } else if (c == '\\' || c == '\'') {
      text += {'\\', c};
    } else if (c >= ' ' && c <= '~') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", uint8_t(c));
    }
  }
  return text;
}

// Of a vocabulary that was not read: as it stands in the file that the model comes from, so that
// other programs find it there.
void copy_vocabulary(GgufWriter& file, const std::map<std::string, MetaValue>& before) {
  if (before.count(kTokensKey) == 0) return file.text(kModelKey, kNoVocabulary);
  for (const auto& [key, value] : before) {
    // The chat template is written for every model, below.
    if (key.starts_with("tokenizer.") && key != kChatTemplateKey) file.any(key, value);
  }
}

void write_ends(GgufWriter& file, const Tokenizer& tokenizer) {
  if (tokenizer.bos()) file.number(kBosKey, uint32_t(*tokenizer.bos()));
  const std::vector<Token>& eos = tokenizer.eos();
  if (!eos.empty()) file.number(kEosKey, uint32_t(eos.front()));
  if (eos.size() > 1) file.numbers(kAllEosKey, eos);
}

void write_vocabulary(GgufWriter& file, const Model& model,
                      const std::map<std::string, MetaValue>& before) {
  if (!model.has_tokenizer()) return copy_vocabulary(file, before);
  constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;
  const Tokenizer& tokenizer = model.tokenizer();
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  for (Token id = 0; id < model.hyperparameters().vocab; ++id) {
    const std::string_view bytes = tokenizer.bytes_of(id);
    const bool end = bytes.empty() && id == 0;
    tokens.push_back(!bytes.empty() ? escape_token(bytes)
                     : end          ? "<s>"
                                    : fmt::format("[PAD{}]", id));
    types.push_back(!bytes.empty() ? kNormal : end ? kControl : kUnused);
  }
  for (const AddedToken& token : tokenizer.added()) {
    tokens[size_t(token.id)] = escape_token(token.text);
    types[size_t(token.id)] = token.control ? kControl : kUserDefined;
  }
  file.text(kModelKey, kWorldKind);
  file.texts(kTokensKey, tokens);
  file.numbers(kTypesKey, types);
  file.flag("tokenizer.ggml.add_bos_token", false);
  write_ends(file, tokenizer);

  constexpr const char* kTurnKey = "tokenizer.ggml.eot_token_id";
  const auto turn = before.find(kTurnKey);
  if (turn != before.end() && std::holds_alternative<int64_t>(turn->second)) {
    file.number(kTurnKey, uint32_t(std::get<int64_t>(turn->second)));
  } else if (is_world(tokenizer)) {
    // What the next speaker begins after: a flower, or two line ends.
    const bool flower = choose_template(model.chat_clues()).form.stops[0] == "\u273f";
    file.number(kTurnKey, flower ? 10060 : 261);
  }
}

// For programs that apply a template from the file, and for the form to be the same when the file
// is opened here.
void write_chat_template(GgufWriter& file, const Model& model) {
  std::string text = chat_template_to_write(model);
  const bool world = model.has_tokenizer() && is_world(model.tokenizer());
  if (text.empty() && world) text = jinja_template(builtin_template("chat"));
  if (!text.empty()) file.text(kChatTemplateKey, text);
}

}  // namespace

bool is_world(const Tokenizer& tokenizer) {
  return tokenizer.bytes_of(261) == "\n\n" && tokenizer.bytes_of(24281) == "User";
}

void save_gguf(const Model& model, const std::string& path, const SaveOptions& options) {
  const Hyperparameters& h = model.hyperparameters();
  check_group_norm(model);
  check_quantizable(h, options.type, model.path());
  Collector collector(options.type);
  visit_weights(model.weights(), h, collector);

  GgufWriter file(path);
  const std::map<std::string, MetaValue> before = metadata_of(model);
  write_general(file, model, before, options.type);
  write_sizes(file, h);
  write_vocabulary(file, model, before);
  write_chat_template(file, model);
  for (const SavedTensor& tensor : collector.tensors) {
    file.tensor(tensor.name, tensor.type, tensor.shape);
  }
  write_tensors(collector.tensors, model, options,
                [&](std::span<const std::byte> bytes) { file.data(bytes); });
  file.finish();
}

}  // namespace anser
