#include "support/test_data.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "support/temp_dir.h"

namespace support {

std::optional<std::string> test_data(const std::string& name) {
  const char* folder = std::getenv("ANSER_TEST_DATA");
  const std::string path =
      (folder != nullptr ? std::string(folder) : ANSER_SOURCE_DIR "/../shared/testdata") + "/" +
      name;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  return path;
}

std::vector<float> read_f32(const std::string& path) {
  const std::string bytes = read_file(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

reference::Model read_reference_model(const std::string& path) {
  const std::string bytes = read_file(path);
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.substr(8, header_size));

  reference::Model model;
  std::map<std::string, std::vector<int>> shapes;
  for (const auto& [name, info] : header.items()) {
    if (name == "__metadata__") continue;
    if (info.at("dtype") != "F32") throw std::runtime_error(name + " is not F32");
    const size_t begin = info["data_offsets"][0], end = info["data_offsets"][1];
    std::vector<float> values((end - begin) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + 8 + header_size + begin, end - begin);
    model.tensors[name].assign(values.begin(), values.end());
    shapes[name] = info["shape"].get<std::vector<int>>();
  }
  model.vocab = shapes.at("emb.weight")[0];
  model.width = shapes.at("emb.weight")[1];
  while (shapes.count("blocks." + std::to_string(model.layers) + ".ln1.weight") != 0)
    ++model.layers;
  model.head_size = shapes.at("blocks.0.att.r_k")[1];
  model.ffn = shapes.at("blocks.0.ffn.key.weight")[0];
  return model;
}

}  // namespace support
