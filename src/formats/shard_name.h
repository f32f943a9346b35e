// NAME-00001-of-00004.ENDING: how Hugging Face and llama.cpp call the parts of a model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace anser {

struct ShardName {
  std::string prefix;  // with the folder, where the path had one
  std::string ending;  // ".safetensors"
  int number, count;   // 1 <= number <= count <= 99999

  std::string of(int other) const;
  // Whether both are parts of the same model, by their names.
  bool goes_with(const ShardName& other) const {
    return prefix == other.prefix && ending == other.ending && count == other.count;
  }
};

// Nothing for the name of no part.
std::optional<ShardName> parse_shard_name(const std::string& path);

}  // namespace anser
