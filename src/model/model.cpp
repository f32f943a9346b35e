#include "anser/model.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "anser/error.h"
#include "base/blob.h"
#include "checkpoint/chat_clues.h"
#include "formats/tensor_file.h"
#include "model/checkpoint.h"
#include "model/hyperparameters.h"
#include "model/load_weights.h"
#include "model/purpose.h"
#include "model/random_weights.h"
#include "model/state_file.h"
#include "model/weights.h"

namespace anser {

struct Model::Data {
  TensorFile file;  // keeps the bytes mapped
  OwnedBytes owned;
  Hyperparameters h;
  Weights weights;
  std::optional<Tokenizer> tokenizer;
  std::string no_tokenizer;  // why there is none
  State initial;
  Purpose purpose;
  ChatClues chat_clues;
  std::string name;
};

namespace {

StateShape state_shape(const Hyperparameters& h) {
  return {h.layers, h.width, h.heads, h.head_size};
}

// The norm weights are fp32 in every file format, or bf16 numbers that fp16 and fp32 hold exactly,
// so their hash does not depend on how a model was converted or quantised.
uint64_t fingerprint_of(const Hyperparameters& h, const Weights& weights) {
  XXH64_hash_t hash = 0;
  const auto add = [&](const void* bytes, size_t n) {
    hash = XXH3_64bits_withSeed(bytes, n, hash);
  };
  const std::array<int32_t, 6> sizes = {h.vocab, h.width, h.layers, h.heads, h.head_size, h.ffn};
  add(sizes.data(), sizeof(sizes));
  for (const Layer& layer : weights.layers) {
    add(layer.ln1.weight.data(), layer.ln1.weight.size() * sizeof(float));
  }
  add(weights.ln_out.weight.data(), weights.ln_out.weight.size() * sizeof(float));
  return hash;
}

// Adds up what the forward pass uses.
struct Totals {
  int64_t parameters = 0;
  size_t bytes = 0;

  void vector(const std::string&, const Vector& v, int) {
    parameters += int64_t(v.size());
    bytes += v.size() * sizeof(float);
  }
  void matrix(const std::string&, const Matrix& m, int, int) {
    parameters += int64_t(m.rows) * m.cols;
    bytes += dtype_bytes(m.type, size_t(m.rows) * m.cols);
  }
  void low_rank(const std::string& name, const Matrix& m, int rows, int cols) {
    matrix(name, m, rows, cols);
  }
};

Totals totals_of(const Weights& weights, const Hyperparameters& h) {
  Totals totals;
  visit_weights(weights, h, totals);
  return totals;
}

constexpr const char* kVocabularyFile = "rwkv_vocab_v20230424.txt";
constexpr int kWorldVocab = 65536;

const std::vector<std::string>* strings(const TensorFile& file, const char* key) {
  const auto at = file.metadata.find(key);
  return at == file.metadata.end() ? nullptr : std::get_if<std::vector<std::string>>(&at->second);
}

// See Model::tokenizer for the order. Sets `missing` when there is none.
std::optional<Tokenizer> find_tokenizer(const TensorFile& file, const Hyperparameters& h,
                                        const OpenOptions& options, std::string& missing) {
  const auto fitting = [&](Tokenizer tokenizer) {
    if (tokenizer.size() > h.vocab) {
      throw Error(fmt::format("{} has token ids up to {}, but the model {} knows only {} tokens",
                              tokenizer.source(), tokenizer.size() - 1, file.path, h.vocab));
    }
    return tokenizer;
  };
  if (!options.vocabulary.empty()) {
    return fitting(Tokenizer::from_vocabulary_file(options.vocabulary));
  }

  const auto kind = file.metadata.find("tokenizer.ggml.model");
  if (const auto* tokens = strings(file, "tokenizer.ggml.tokens");
      tokens != nullptr && kind != file.metadata.end() && kind->second == MetaValue("rwkv")) {
    std::span<const int64_t> types;
    const auto at = file.metadata.find("tokenizer.ggml.token_type");
    if (at != file.metadata.end()) {
      if (const auto* list = std::get_if<std::vector<int64_t>>(&at->second)) types = *list;
    }
    return fitting(Tokenizer::from_escaped(*tokens, types, file.path));
  }

  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path path(file.path);
  const fs::path folder = fs::is_directory(path, ignored) ? path : path.parent_path();
  const fs::path beside = folder / kVocabularyFile;
  if (fs::is_regular_file(beside, ignored)) {
    // In a folder of several models it may be another one's.
    Tokenizer found = Tokenizer::from_vocabulary_file(beside.string());
    if (found.size() <= h.vocab) return found;
  }

  if (h.vocab == 256) return Tokenizer::bytes();
  if (h.vocab == kWorldVocab && Tokenizer::has_builtin_world()) return Tokenizer::builtin_world();
  missing = fmt::format(
      "{}: no tokenizer for its {} tokens: the file holds none, there is no fitting {} in {}{}. "
      "Put the "
      "model's vocabulary file there or name it with --vocab FILE.",
      file.path, h.vocab, kVocabularyFile, folder.empty() ? "." : folder.string(),
      h.vocab == kWorldVocab ? ", and this program was built without the World vocabulary" : "");
  return std::nullopt;
}

State initial_state_of(const TensorFile& file, const Checkpoint& checkpoint,
                       const Hyperparameters& h, uint64_t fingerprint) {
  State state(state_shape(h), fingerprint);
  for (int l = 0; l < h.layers; ++l) {
    const auto at = checkpoint.tensors.find(fmt::format("blocks.{}.att.time_state", l));
    if (at == checkpoint.tensors.end()) continue;
    load_time_state(at->second, h, !checkpoint.low_rank_out_in, file.path, state.wkv(l));
  }
  return state;
}

}  // namespace

Model Model::build(TensorFile&& file, const OpenOptions& options) {
  auto data = std::make_shared<Data>();
  const Checkpoint checkpoint = read_checkpoint(file);
  data->h = hyperparameters_from_shapes(checkpoint, file.path);
  data->weights = load_weights(checkpoint, data->h, file.path, data->owned);
  data->weights.files = file.files;
  data->tokenizer = find_tokenizer(file, data->h, options, data->no_tokenizer);
  data->initial =
      initial_state_of(file, checkpoint, data->h, fingerprint_of(data->h, data->weights));

  data->purpose = read_purpose(file);
  data->chat_clues = read_chat_clues(file);

  const double millions = double(totals_of(data->weights, data->h).parameters) / 1e6;
  data->name = millions < 1000 ? fmt::format("RWKV-7 {:.{}f}M", millions, millions < 100 ? 1 : 0)
                               : fmt::format("RWKV-7 {:.2f}B", millions / 1000);
  data->file = std::move(file);
  data->file.metadata.clear();  // a vocabulary of 65536 strings among it
  return Model(std::move(data));
}

Model Model::open(const std::string& path, const OpenOptions& options) {
  return build(open_tensor_file(path), options);
}

Model Model::embedded(const OpenOptions& options) {
  const std::span<const std::byte> bytes = blob_default_model();
  if (bytes.empty()) {
    throw Error("this program was built without an embedded model; name one with -m MODEL");
  }
  return build(parse_tensor_bytes(bytes, "embedded model"), options);
}

Model Model::random(const RandomWeights& options) {
  return build(random_weights(options), {});
}

const Hyperparameters& Model::hyperparameters() const {
  return data_->h;
}
const Weights& Model::weights() const {
  return data_->weights;
}
bool Model::has_tokenizer() const {
  return data_->tokenizer.has_value();
}

const Tokenizer& Model::tokenizer() const {
  if (!data_->tokenizer) throw Error(data_->no_tokenizer);
  return *data_->tokenizer;
}

State Model::initial_state() const {
  return data_->initial;
}

void Model::check_state(const State& state, const std::string& source) const {
  const Hyperparameters& h = data_->h;
  const StateShape& s = state.shape();
  if (s != state_shape(h)) {
    throw Error(fmt::format(
        "{} is the state of another model: {} layers of width {} with {} heads, and {} has {} "
        "layers of width {} with {} heads",
        source, s.layers, s.width, s.heads, data_->file.path, h.layers, h.width, h.heads));
  }
  if (state.fingerprint() != fingerprint()) {
    throw Error(fmt::format(
        "{} is the state of another model of the same size: fingerprint {:016x}, and {} has "
        "{:016x}",
        source, state.fingerprint(), data_->file.path, fingerprint()));
  }
  if (state.has_logits() && int(state.logits().size()) != h.vocab) {
    throw Error(
        fmt::format("{} holds {} logits, expected {}", source, state.logits().size(), h.vocab));
  }
}

State Model::load_state(const std::string& path) const {
  const Hyperparameters& h = data_->h;
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    const auto file = MappedFile::open(path);
    if (is_state_file(file->bytes())) {
      State state = State::deserialize(file->bytes(), path);
      check_state(state, path);
      return state;
    }
  }

  const TensorFile file = open_tensor_file(path);
  const auto tensors = time_states(file);
  if (int(tensors.size()) != h.layers) {
    throw Error(
        fmt::format("{} is no state of this model: expected an anser state file or {} tensors "
                    "blocks.*.att.time_state, found {}",
                    path, h.layers, tensors.size()));
  }
  State state(state_shape(h), fingerprint());
  for (int l = 0; l < h.layers; ++l) {
    const auto at = tensors.find(fmt::format("blocks.{}.att.time_state", l));
    if (at == tensors.end()) {
      throw Error(fmt::format("{}: tensor blocks.{}.att.time_state is missing", path, l));
    }
    load_time_state(at->second, h, true, path, state.wkv(l));
  }
  return state;
}

const std::string& Model::kind() const {
  return data_->purpose.kind;
}
const SamplingDefaults& Model::sampling() const {
  return data_->purpose.sampling;
}
const ChatClues& Model::chat_clues() const {
  return data_->chat_clues;
}
uint64_t Model::fingerprint() const {
  return data_->initial.fingerprint();
}
const std::string& Model::name() const {
  return data_->name;
}
const std::string& Model::path() const {
  return data_->file.path;
}

std::string Model::format() const {
  return file_format_name(data_->file.format);
}

std::string Model::type() const {
  // Not of the embedding and the head, which are half of a small model and often keep more bits.
  std::map<DType, size_t> bytes;
  for (const Layer& layer : data_->weights.layers) {
    for (const Matrix* m : {&layer.att.receptance, &layer.att.key, &layer.att.value,
                            &layer.att.output, &layer.ffn.key, &layer.ffn.value}) {
      bytes[m->type] += m->bytes();
    }
  }
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return dtype_name(most->first);
}

int64_t Model::parameters() const {
  return totals_of(data_->weights, data_->h).parameters;
}

size_t Model::file_bytes() const {
  size_t bytes = 0;
  for (const FileTensor& tensor : data_->file.tensors) bytes += tensor.bytes.size();
  return bytes;
}

}  // namespace anser
