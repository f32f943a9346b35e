#include "anser/model.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "anser/error.h"
#include "base/blob.h"
#include "checkpoint/adapter.h"
#include "checkpoint/adapter_names.h"
#include "checkpoint/chat_clues.h"
#include "checkpoint/find_tokenizer.h"
#include "checkpoint/merge_adapters.h"
#include "checkpoint/open_checkpoint.h"
#include "formats/checks.h"
#include "formats/tensor_file.h"
#include "model/checkpoint.h"
#include "model/hyperparameters.h"
#include "model/load_weights.h"
#include "model/model_sketch.h"
#include "model/purpose.h"
#include "model/random_weights.h"
#include "model/state_file.h"
#include "model/tuned_state.h"
#include "model/weights.h"

namespace anser {

struct Model::Data {
  TensorFile file;  // keeps the bytes mapped
  OwnedBytes owned;
  Hyperparameters h;
  Weights weights;
  std::optional<Tokenizer> tokenizer;
  std::string no_tokenizer;  // why there is none
  State initial;             // without the sketch, so as not to count among those who need it
  Purpose purpose;
  ChatClues chat_clues;
  std::string name;
  std::vector<std::string> notes;
  MergedBytes merged;
  std::vector<std::string> adapters;
  std::shared_ptr<const ModelSketch> sketch;

  // States that live on may still have to say whose they are.
  ~Data() {
    if (sketch.use_count() > 1) sketch->groups();
  }
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

// A matrix of the type that most bytes of the layers' matrices have. Not of the embedding and the
// head, which are half of a small model and often keep more bits.
const Matrix& main_matrix(const Weights& weights) {
  struct Sum {
    size_t bytes = 0;
    const Matrix* one = nullptr;
  };
  std::map<DType, Sum> sums;
  for (const Layer& layer : weights.layers) {
    for (const Matrix* m : {&layer.att.receptance, &layer.att.key, &layer.att.value,
                            &layer.att.output, &layer.ffn.key, &layer.ffn.value}) {
      Sum& sum = sums[m->file_type];
      sum.bytes += dtype_bytes(m->file_type, size_t(m->rows) * m->cols);
      if (sum.one == nullptr) sum.one = m;
    }
  }
  const auto most = std::max_element(sums.begin(), sums.end(), [](const auto& a, const auto& b) {
    return a.second.bytes < b.second.bytes;
  });
  return *most->second.one;
}

}  // namespace

Model Model::build(TensorFile&& file, const OpenOptions& options) {
  auto data = std::make_shared<Data>();
  Checkpoint checkpoint = read_checkpoint(file);
  if (checkpoint.says.tied_head && !checkpoint.head_is_embedding()) {
    data->notes.push_back(fmt::format(
        "{}: tie_word_embeddings is true, but the file has a head of its own, which is used",
        checkpoint.says.source));
  }
  const std::vector<OpenedAdapter> adapters =
      open_adapters(options.adapters, checkpoint, file.path, data->notes);
  data->h = hyperparameters_from_shapes(checkpoint, file.path);
  data->weights = load_weights(checkpoint, data->h, file.path, options.exact,
                               changed_matrices(adapters), data->owned, data->notes);
  data->weights.files = file.files;
  merge_adapters(adapters, data->weights, data->h, options.merge_to_f16, options.exact,
                 data->merged, data->notes);
  FoundTokenizer found = find_tokenizer(file, data->h.vocab, options.vocabulary);
  data->tokenizer = std::move(found.tokenizer);
  data->no_tokenizer = std::move(found.missing);
  std::ranges::move(found.notes, std::back_inserter(data->notes));
  data->sketch = std::make_shared<const ModelSketch>(data->weights, data->h);
  data->initial = State(state_shape(data->h), fingerprint_of(data->h, data->weights));
  load_tuned_state_of_model(file, checkpoint, data->h, data->initial);

  for (const OpenedAdapter& adapter : adapters) {
    // Whole tensors are viewed in place.
    for (const auto& mapped : adapter.file.files) data->weights.files.push_back(mapped);
    if (adapter.has_states) load_tuned_state(adapter.file, data->h, data->initial);
    data->adapters.push_back(fmt::format("{}: {}", adapter.path, adapter.text));
  }

  data->purpose = read_purpose(file);
  data->chat_clues = read_chat_clues(file);
  data->notes.insert(data->notes.end(), file.notes.begin(), file.notes.end());
  if (!checkpoint.says.norm_bias && checkpoint.tensors.count("ln_out.bias") > 0) {
    data->notes.push_back(fmt::format(
        "{}: norm_bias is false: the biases of the layer norms in the file are not used",
        checkpoint.says.source));
  }

  const double millions = double(totals_of(data->weights, data->h).parameters) / 1e6;
  data->name = millions < 1000 ? fmt::format("RWKV-7 {:.{}f}M", millions, millions < 100 ? 1 : 0)
                               : fmt::format("RWKV-7 {:.2f}B", millions / 1000);
  data->file = std::move(file);
  data->file.metadata.clear();  // a vocabulary of 65536 strings among it
  return Model(std::move(data));
}

Model Model::open(const std::string& path, const OpenOptions& options) {
  return build(open_checkpoint(path), options);
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
  State state = data_->initial;
  state.belongs_to(data_->sketch);
  return state;
}

void Model::check_state(const State& state, const std::string& source) const {
  // By its name: clients of a server are told, and its path is not theirs to know.
  const Hyperparameters& h = data_->h;
  const StateShape& s = state.shape();
  if (s != state_shape(h)) {
    throw Error(fmt::format(
        "{} is the state of another model: {} layers of width {} with {} heads, and {} has {} "
        "layers of width {} with {} heads",
        source, s.layers, s.width, s.heads, name(), h.layers, h.width, h.heads));
  }
  if (state.fingerprint() != fingerprint()) {
    throw Error(fmt::format(
        "{} is the state of another model of the same size: fingerprint {:016x}, and {} has "
        "{:016x}",
        source, state.fingerprint(), name(), fingerprint()));
  }
  if (state.identity_known() && state.sketch() != data_->sketch) {
    if (const size_t changes = data_->sketch->changes(*state.sketch()); changes > 0) {
      throw Error(fmt::format(
          "{} is the state of another fine-tune of this model: its weights and those of {} differ "
          "by more than rounding, in {} of {} groups that were compared",
          source, name(), changes, data_->sketch->groups().size()));
    }
  }
  if (state.has_logits() && int(state.logits().size()) != h.vocab) {
    throw Error(
        fmt::format("{} holds {} logits, expected {}", source, state.logits().size(), h.vocab));
  }
}

namespace {

State tuned_state(const TensorFile& file, const Model& model) {
  if (find_adapter_tensor(file) != nullptr) {
    throw Error(
        fmt::format("{} is a {} adapter, not a state: give it with --lora, which loads an "
                    "initial state in it, too",
                    file.path, adapter_method(file)));
  }
  const FileTensor* other = find_beside_tuned_state(file);
  if (other != nullptr && has_tuned_state(file)) {
    throw Error(
        fmt::format("{} holds a tuned state and also {}, which a state cannot change: give "
                    "it with --lora, which takes both",
                    file.path, printable(other->name)));
  }
  State state(state_shape(model.hyperparameters()), model.fingerprint(), model.sketch());
  load_tuned_state(file, model.hyperparameters(), state);
  return state;
}

}  // namespace

State Model::load_state(const std::string& path) const {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return tuned_state(open_tensor_file(path), *this);
  }
  if (const auto bytes = read_state_file(path)) return read_state(*bytes, path);
  return read_state(MappedFile::open(path)->bytes(), path);
}

State Model::read_state(std::span<const std::byte> bytes, const std::string& source) const {
  if (!is_state_file(bytes)) {
    TensorFile file;
    try {
      file = parse_tensor_bytes(bytes, source);
    } catch (const Error& error) {
      throw Error(
          fmt::format("{}. A state is an anser state file, which begins with ANSERST, or a "
                      "tuned initial state in .pth or .safetensors",
                      error.what()));
    }
    return tuned_state(file, *this);
  }
  State state = State::deserialize(bytes, source);
  check_state(state, source);
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
const std::shared_ptr<const ModelSketch>& Model::sketch() const {
  return data_->sketch;
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
  return dtype_name(main_matrix(data_->weights).file_type);
}

std::string Model::run_type() const {
  return dtype_name(main_matrix(data_->weights).type);
}

int64_t Model::parameters() const {
  return totals_of(data_->weights, data_->h).parameters;
}

size_t Model::weight_bytes() const {
  return totals_of(data_->weights, data_->h).bytes;
}

const std::vector<std::string>& Model::notes() const {
  return data_->notes;
}

const std::vector<std::string>& Model::adapters() const {
  return data_->adapters;
}

size_t Model::file_bytes() const {
  size_t bytes = 0;
  for (const FileTensor& tensor : data_->file.tensors) bytes += tensor.bytes.size();
  return bytes;
}

}  // namespace anser
