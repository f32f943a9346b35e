// What a file says of its model beside the tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "formats/tensor_file.h"

namespace anser {

struct Description {
  std::string source;  // what says it, for messages: the file, or its config.json

  // To be held against the tensors' shapes; absent where nothing is said.
  std::optional<int64_t> layers, width, vocab, ffn, head_size, heads, attention_width;
  std::optional<int64_t> rank_w, rank_a, rank_v, rank_g;

  // To be followed.
  std::optional<double> norm_eps, group_norm_eps;
  bool group_norm_eps_by_head = false;  // where absent it is head size * norm_eps, else 64e-5
  bool embedding_norm = true;  // false: no ln0; the table holds its results, or none is wanted
  bool norm_bias = true;       // false: the biases of the layer norms are zero
  bool tied_head = false;      // without a head of its own the head is the embedding
};

// Our own word for embedding_norm = false, in files that we write: a flag in GGUF, in safetensors,
// whose metadata is text, "true".
inline constexpr const char* kEmbeddingNormFused = "anser.embedding_layer_norm_fused";

// What the config.json says whose entries are among the file's metadata. Throws Error that names
// the key for a value of the wrong type, for two synonyms that disagree, and for what would make it
// another model than anser runs. Keys that nobody here knows are ignored: most are about training
// or about other programs.
Description read_config(const TensorFile& file);

}  // namespace anser
