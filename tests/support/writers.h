// Puts a random model into every format that Model::open reads, byte by byte, by code of its own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "support/random_model.h"

namespace support {

enum class Float { f32, f16, bf16 };

// ---- safetensors ----
struct SafetensorsOptions {
  Float type = Float::f32;
  bool web_rwkv = false;    // low-rank matrices transposed, as web-rwkv's converter does
  std::string prefix = {};  // before every name
};
void write_safetensors(const std::string& path, const RandomModel& model,
                       const SafetensorsOptions& options = {});
// Any tensors, as they are.
void write_safetensors_raw(const std::string& path, const std::vector<Tensor>& tensors, Float type,
                           const std::map<std::string, std::string>& metadata = {});

// The last two dimensions exchanged.
Tensor transposed(const Tensor& tensor);

// ---- PyTorch ----
struct PthOptions {
  Float type = Float::bf16;
  std::string root = "archive";
  std::string device = "cpu";
  bool state_dict = false;       // wrapped in {"state_dict": ...}
  bool zip64 = false;            // sizes and offsets in zip64 records
  bool data_descriptors = true;  // sizes after the data, as PyTorch writes them
  bool shared_storage = false;   // all tensors in one storage, at offsets
  bool strided = false;          // square matrices stored column by column
  bool layer0_values = false;    // unused blocks.0.att.v0 v1 v2
};
void write_pth(const std::string& path, const RandomModel& model, const PthOptions& options = {});
void write_pth_raw(const std::string& path, const std::vector<Tensor>& tensors,
                   const PthOptions& options = {});

// ---- Hugging Face folder ----
enum class HfLayout {
  fla,        // model.layers.N.attn.r_proj, lm_head
  rwkv7,      // rwkv7.blocks.N.att, head
  v1,         // model.blocks.N.att, head
  linear,     // the same with low-rank pairs as linear layers, model.embeddings
  attention,  // rwkv7.blocks.N.attention, .feed_forward, .pre_ln
  llama,      // model.layers.N.attention, .feed_forward, what llama.cpp converts
};
inline constexpr HfLayout kHfLayouts[] = {HfLayout::fla,    HfLayout::rwkv7,     HfLayout::v1,
                                          HfLayout::linear, HfLayout::attention, HfLayout::llama};

struct HfOptions {
  HfLayout layout = HfLayout::fla;
  Float type = Float::f32;
  int shards = 1;          // more than one: with an index
  bool fused_mix = false;  // one x_x instead of x_r ... x_g
  std::string model_type = "rwkv7";
  std::string config = "{}";  // JSON: other members of config.json; null takes one away
};
void write_hf_folder(const std::string& folder, const RandomModel& model,
                     const HfOptions& options = {});

// ---- GGUF ----
// ggml's ids of the types.
enum class Ggml : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  bf16 = 30,
};
const char* ggml_name(Ggml type);

struct GgufOptions {
  Ggml type = Ggml::f16;         // of the big matrices
  Ggml low_rank = Ggml::f32;     // of a, v and g's low-rank matrices; w's are always fp32
  bool byte_vocabulary = false;  // tokens in the file: 1 to 256 are the bytes
  bool unfused = false;          // time_mix_lerp_r ... time_mix_lerp_g, as old converters wrote
  std::string architecture = "rwkv7";
  // More key-values. Numbers are written as i32 and f32.
  std::map<std::string, std::variant<std::string, int, float, bool>> metadata = {};
};
// Returns the model as it stands in the file: quantised and brought back.
RandomModel write_gguf(const std::string& path, const RandomModel& model,
                       const GgufOptions& options = {});
// The same in so many files PREFIX-00001-of-0000N.gguf, the first of them without tensors. F32.
void write_gguf_parts(const std::string& prefix, const RandomModel& model, int parts);

// Blocks of a type and their values, by the layout of the format's description.
std::string pack(Ggml type, const std::vector<double>& x, std::vector<double>& stored);

// The bytes of numbers in a float type. All values must be exact in it.
std::string pack(Float type, const std::vector<double>& x);

}  // namespace support
