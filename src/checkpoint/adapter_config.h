// What stands beside an adapter's tensors: PEFT's adapter_config.json, rwkv_lightning_cuda's
// adapter.json.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace anser {

struct AdapterConfig {
  enum class Method { lora, miss };
  Method method = Method::lora;
  // How a MiSS tensor changes its matrix; see MatrixChange.
  enum class Shards { rows, repeated, blocks };
  Shards shards = Shards::rows;

  double rank = 0, alpha = 0;
  bool root = false;        // rank-stabilised: alpha / sqrt(rank)
  bool magnitudes = false;  // DoRA
  // A package's own; it takes the place of alpha / rank.
  std::optional<double> scale;
  int repeat = 0;  // of Shards::repeated: after how many outputs the shards begin again
  // For modules whose names are these, or end in them after a dot.
  std::vector<std::pair<std::string, double>> rank_pattern, alpha_pattern;
  std::vector<std::string> modules_to_save;
  bool some_layers = false;        // only some layers were meant to be trained
  std::vector<std::string> notes;  // what is not understood and was passed over

  double rank_of(std::string_view module) const;
  double alpha_of(std::string_view module) const;
  // Without the user's factor.
  double scale_of(std::string_view module, double rank) const;
};

// Throw Error naming what of it is not merged. `path` only goes into messages.
AdapterConfig parse_peft_config(std::string_view json, const std::string& path);
AdapterConfig parse_miss_package(std::string_view json, const std::string& path);

}  // namespace anser
