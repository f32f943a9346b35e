// How checkpoints spell the names of tensors: the original files, the wrappers of trainers, and the
// layouts of Hugging Face. (GGUF's names: gguf_names.h.)
//
//   layout                 embedding                  in layer N                         head
//   original               emb.weight                 blocks.N.{att,ffn}                 head
//   fla                    model.embeddings.weight    model.layers.N.{attn,ffn}          lm_head
//   Rwkv7ForCausalLM       rwkv7.emb.weight           rwkv7.blocks.N.{att,ffn}           head
//     or                   rwkv7.embeddings.weight    rwkv7.blocks.N.{attention,
//                                                       feed_forward,pre_ln}             head
//   transformers-rwkv7-v1  model.emb[eddings].weight  model.blocks.N.{att,ffn}           head
//   read by llama.cpp      model.embeddings.weight    model.layers.N.{attention,
//                                                       feed_forward}                    head
#pragma once

#include <string>
#include <string_view>

#include "formats/tensor_file.h"

namespace anser {

struct TensorNames {
  // Before "blocks." or "layers.": "model.", "_forward_module.", or nothing.
  std::string prefix;
  // The words of this file.
  std::string layers = "blocks.", time_mix = "att.", channel_mix = "ffn.", embedding = "emb.weight";
  // Whether the names are those of a Hugging Face layout, to which a config.json belongs.
  bool hugging_face = false;
  // Whether they are fla's, whose code has an epsilon of its own for the group norm.
  bool fla = false;
  // Whether the low-rank matrices are linear layers, [outputs][inputs], by their names.
  bool linear_low_rank = false;

  // "model.layers.3.attn.r_proj.weight" -> "blocks.3.att.receptance.weight"; empty for a tensor
  // that is not part of the model.
  std::string original(std::string_view name) const;
  // The other way round: for messages about a tensor that the file does not have.
  std::string in_file(std::string_view original) const;
};

// From the first tensor that is the r_k of a first layer. Where there is none: original names.
TensorNames find_tensor_names(const TensorFile& file);

}  // namespace anser
