// A model: weights in the type their file has, sizes, tokenizer. Opened once, shared by everything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anser/chat_clues.h"
#include "anser/sampling.h"
#include "anser/state.h"
#include "anser/tokenizer.h"

namespace anser {

struct Weights;  // src/model/weights.h

// Sizes of an RWKV-7, read from the shapes of the tensors, never computed from a formula.
struct Hyperparameters {
  int vocab;                      // V: rows of the embedding and of the head
  int width;                      // D
  int layers;                     // L
  int heads;                      // H
  int head_size;                  // N, with H * N = D
  int ffn;                        // F: rows of the channel mix; usually 4 D
  int rank_w;                     // widths of the low-rank pairs: decay,
  int rank_a;                     //   in-context rate,
  int rank_v;                     //   value residual (0 when there is one layer only),
  int rank_g;                     //   gate
  float norm_eps = 1e-5f;         // layer norms
  float group_norm_eps = 64e-5f;  // the per-head norm of the time mix
  // Whether ln0 is applied to the embedding; false where the table holds its results.
  bool embedding_norm = true;

  bool operator==(const Hyperparameters&) const = default;
};

// A fine-tune in a file of its own, LoRA or one of its kin, which is merged into the weights when a
// model is opened. Which files are read: docs/formats.md.
struct Adapter {
  std::string path;  // a file, or a folder of Hugging Face PEFT
  // Multiplies alpha / rank; where there is no alpha, the whole change. Tensors that come whole in
  // the adapter's file are not scaled.
  double scale = 1;
  // Of files that do not say with which alpha they were trained; for others it is an Error.
  std::optional<double> alpha = {};
  // What a PiSSA training began with; without it init_pissa.pth beside the file, if there is one.
  std::string init = {};
};

struct OpenOptions {
  // A vocabulary file in World grammar, instead of what is found with the model.
  std::string vocabulary = {};
  // Merged in this order.
  std::vector<Adapter> adapters = {};
  // Matrices of F16 and BF16 that an adapter changes become F16, not F32: for GPUs, which round
  // activations to 16 bits anyway and are slow with weights of 32.
  bool merge_to_f16 = false;
  // For models that are opened to be written again: matrices of types that run rounded to F16
  // (Q2_K, IQ4_XS; those that an adapter changes) become F32 instead, which keeps their values and
  // takes twice the memory.
  bool exact = false;
};

// Random weights in the sizes of the released models, for measuring before a download.
struct RandomWeights {
  std::string size;          // "0.1B", "0.4B", "1.5B", "2.9B", "7.2B"
  std::string type = "f16";  // of the matrices: f32, f16, bf16, q8_0, q5_0, q4_0, q4_k, q5_k, q6_k
  // The share of zeros in the channel mix's hidden activations, on which the speed of few rows
  // depends. Trained models have about 0.9.
  double zeros = 0.9;
};

// Immutable after open(); cheap to copy (copies share one mapping); safe to use from any thread.
class Model {
 public:
  // Opens a file or folder: BlinkDL .pth, .safetensors (raw or web-rwkv), a Hugging Face folder or
  // one file or shard of it, or GGUF, one file or any part of a split one; recognised by content.
  // The file is mapped, not read: weights are fetched when an Engine first needs them, and the file
  // must not change while a Model of it exists. Adapters, and types that have no kernels, make new
  // matrices in memory; notes() says so.
  //
  // Throws Error for anything that is not a usable RWKV-7, naming what is wrong and where.
  static Model open(const std::string& path, const OpenOptions& options = {});

  // The small model that is linked into the program.
  static Model embedded(const OpenOptions& options = {});

  // Made in memory by all cores, in seconds; the memory is the Model's. What it writes is noise.
  // Throws Error for a size or type that there is not.
  static Model random(const RandomWeights& options);

  const Hyperparameters& hyperparameters() const;
  const Weights& weights() const;

  // Looked for in this order: OpenOptions::vocabulary; what the GGUF file itself, or the
  // tokenizer's files in a Hugging Face folder, say; next to the model (rwkv_vocab_v20230424.txt);
  // 256 rows: bytes; 65536 rows: the World vocabulary built in. A model whose files name another
  // kind of tokenizer than RWKV's has none here. Without one tokenizer() throws an Error that says
  // what to do. The reference is valid as long as a copy of this Model.
  const Tokenizer& tokenizer() const;
  bool has_tokenizer() const;

  // A state before the first token: zeros, or the file's own `time_state` where it has one.
  State initial_state() const;
  // A state from a file: one saved by State::save, or a tuned initial state (`time_state` tensors
  // in .pth, .safetensors or GGUF). Throws Error when it belongs to another model.
  State load_state(const std::string& path) const;
  // The same from the file's bytes. `source` goes into error messages.
  State read_state(std::span<const std::byte> bytes, const std::string& source) const;
  // Throws Error that names `source` when the state does not belong to this model. A state whose
  // identity is not known may be of a fine-tune of it.
  void check_state(const State& state, const std::string& source) const;

  // What the model is for, where its file says so: "story" for one that writes stories and can
  // neither converse nor answer. Empty: nothing is said, it is taken for a general model.
  const std::string& kind() const;
  bool tells_stories() const { return kind() == "story"; }
  // How its makers would sample from it. Nothing in the library applies this by itself:
  // model.sampling().over({}) gives options to generate with.
  const SamplingDefaults& sampling() const;

  // What its files say of how its conversations are written.
  const ChatClues& chat_clues() const;

  // Name this model in state files: a hash of its sizes and norm weights, which fine-tunes may
  // share, and a sketch of all its weights, which they do not. What they say is the same for all
  // file formats and quantisations of the same model.
  uint64_t fingerprint() const;
  const std::shared_ptr<const ModelSketch>& sketch() const;

  // For people: "RWKV-7 191M", the path, the format, the type that most bytes of the
  // layers' matrices have.
  const std::string& name() const;
  const std::string& path() const;
  std::string format() const;
  std::string type() const;
  // What type() runs as: another type where the kernels do not know it (Q3_K runs as Q6_K).
  std::string run_type() const;
  int64_t parameters() const;   // that the forward pass uses
  size_t file_bytes() const;    // of all tensors
  size_t weight_bytes() const;  // that the forward pass uses, as they are in memory
  // What a user should know about this load, one sentence each, without a full stop. The library
  // prints nothing.
  const std::vector<std::string>& notes() const;
  // What was merged into the weights, for people: "rwkv-0.pth: LoRA of rank 8, alpha 16, ...".
  const std::vector<std::string>& adapters() const;

 private:
  struct Data;
  explicit Model(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  static Model build(struct TensorFile&& file, const OpenOptions& options);
  std::shared_ptr<const Data> data_;
};

}  // namespace anser
