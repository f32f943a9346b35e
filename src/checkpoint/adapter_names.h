// The tensors of adapters (LoRA and its kin), told by how their names end:
//   base_model.model.blocks.0.att.key.lora_A.weight     Hugging Face PEFT
//   blocks.0.att.key.lora_A                             RWKV-PEFT
//   blk.0.time_mix_key.weight.lora_a                    GGUF
// are the A of one module. A module's own tensor is its name and ".weight".
#pragma once

#include <string>
#include <string_view>

#include "formats/tensor_file.h"

namespace anser {

enum class AdapterPart {
  none,  // no adapter's tensor: one of a model
  lora_a,
  lora_b,
  embedding_a,  // of an embedding, whose product is stored transposed
  embedding_b,
  init_a,  // what PiSSA began with
  init_b,
  magnitude,  // DoRA's
  shards,     // MiSS of PEFT, whose blocks, where it has some, are of rows
  disha,      // the same of RWKV-PEFT, whose blocks are of columns
  bone,       // its first name
  package,    // MiSS of rwkv_lightning_cuda
  unknown,    // of a method that is not merged
};

struct AdapterName {
  AdapterPart part = AdapterPart::none;
  std::string module;       // what stands before
  std::string_view method;  // of `unknown`: what it is called
};

AdapterName parse_adapter_name(std::string_view name);

// A module's name without PEFT's wrapper: as the base has it.
std::string module_in_base(const std::string& module);

// Of a model's tensors, by original name: whether it is one of the low-rank pairs (w1 w2 a1 a2 v1
// v2 g1 g2), and whether it is a matrix at all; the others are vectors, whatever shape a file gives
// them.
bool is_low_rank(std::string_view name);
bool is_matrix(std::string_view name);

// The first tensor of an adapter in a file; null when it has none.
const FileTensor* find_adapter_tensor(const TensorFile& file);

// "LoRA", "DoRA", "PiSSA", "MiSS", ...: what people call the method that such a file is of.
std::string adapter_method(const TensorFile& file);

}  // namespace anser
