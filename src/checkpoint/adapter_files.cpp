#include "checkpoint/adapter_files.h"

#include <filesystem>
#include <string_view>
#include <utility>

#include "base/mapped_file.h"
#include "formats/byte_reader.h"
#include "formats/checks.h"
#include "formats/zip_directory.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPeftConfig = "adapter_config.json";
constexpr const char* kPackageConfig = "adapter.json";
constexpr size_t kMaxConfig = 16'000'000;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// The file of tensors, and that of its settings where there is one.
struct Place {
  fs::path tensors, config;
};

Place find_files(const std::string& given) {
  std::error_code ignored;
  fs::path path(given);
  const bool settings = path.filename() == kPeftConfig || path.filename() == kPackageConfig;
  if (settings && is_there(path)) path = path.has_parent_path() ? path.parent_path() : ".";
  if (!fs::is_directory(path, ignored)) {
    // PEFT and rwkv_lightning_cuda name their files always so; another file's settings would be
    // those of a neighbour.
    const std::string name = path.filename().string();
    const char* config = name.starts_with("adapter_model.") ? kPeftConfig
                         : name == "adapter.pth"            ? kPackageConfig
                                                            : nullptr;
    if (config == nullptr || !is_there(path.parent_path() / config)) return {path, {}};
    return {path, path.parent_path() / config};
  }
  constexpr std::pair<const char*, const char*> kPairs[] = {
      {kPeftConfig, "adapter_model.safetensors"},
      {kPeftConfig, "adapter_model.bin"},
      {kPackageConfig, "adapter.pth"},
  };
  for (const auto& [config, tensors] : kPairs) {
    if (is_there(path / config) && is_there(path / tensors)) return {path / tensors, path / config};
  }
  fail(given,
       "no adapter in this folder: expected adapter_config.json beside adapter_model.safetensors, "
       "or adapter.json beside adapter.pth. Name the file where it is another one");
}

// A package in one file has its settings in the archive.
std::optional<AdapterConfig> config_inside(const TensorFile& file) {
  if (file.format != FileFormat::pth) return std::nullopt;
  for (const ZipEntry& entry : read_zip_directory(file.files[0]->bytes(), file.path)) {
    if (entry.name != "miss.json" && !entry.name.ends_with("/miss.json")) continue;
    if (entry.data.size() > kMaxConfig) fail(file.path, "its miss.json is too large");
    return parse_miss_package(as_text(entry.data), file.path + ": miss.json");
  }
  return std::nullopt;
}

std::optional<AdapterConfig> read_config(const fs::path& path, const TensorFile& file) {
  if (path.empty()) return config_inside(file);
  const auto mapped = MappedFile::open(path.string());
  if (mapped->bytes().size() > kMaxConfig) {
    fail(path.string(), "{} bytes; at most {} are accepted", mapped->bytes().size(), kMaxConfig);
  }
  const std::string_view text = as_text(mapped->bytes());
  return path.filename() == kPeftConfig ? parse_peft_config(text, path.string())
                                        : parse_miss_package(text, path.string());
}

}  // namespace

AdapterFiles open_adapter_files(const std::string& given) {
  const Place place = find_files(given);
  AdapterFiles files{place.tensors.string(), open_tensor_file(place.tensors.string()), {}};
  files.config = read_config(place.config, files.tensors);
  return files;
}

std::optional<std::string> find_pissa_start(const std::string& tensors) {
  const fs::path beside = fs::path(tensors).parent_path() / kPissaStart;
  return is_there(beside) ? std::optional(beside.string()) : std::nullopt;
}

}  // namespace anser
