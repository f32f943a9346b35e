#include "formats/hf_folder.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <unordered_map>

#include "formats/byte_reader.h"
#include "formats/checks.h"
#include "formats/json.h"

namespace anser {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Far above the largest there are (a config has a few kB, an index 100 bytes a tensor).
constexpr size_t kMaxConfig = 16'000'000, kMaxIndex = 16'000'000;

std::string in_folder(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

bool is_there(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

Json read_json(const std::string& path, size_t max_bytes) {
  const auto file = MappedFile::open(path);
  if (file->bytes().size() > max_bytes) {
    fail(path, "{} bytes of JSON; at most {} are accepted", file->bytes().size(), max_bytes);
  }
  Json json = parse_json(as_text(file->bytes()), path);
  if (!json.is_object()) fail(path, "expected a JSON object");
  return json;
}

template <typename T>
std::vector<T> list_of(const Json& list) {
  std::vector<T> out;
  for (const Json& value : list) out.push_back(value.get<T>());
  return out;
}

bool is_int64(const Json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t(INT64_MAX));
}

std::optional<MetaValue> meta_value(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (is_int64(value)) return value.get<int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object()) return value.dump();
  if (!value.is_array()) return std::nullopt;
  const auto all = [&](auto is) { return std::all_of(value.begin(), value.end(), is); };
  if (all([](const Json& one) { return one.is_string(); })) return list_of<std::string>(value);
  if (all(is_int64)) return list_of<int64_t>(value);
  if (all([](const Json& one) { return one.is_number(); })) return list_of<double>(value);
  return std::nullopt;
}

// Opens one file and gives its tensors and metadata to `whole`.
FileFormat add_file(const std::string& path, TensorFile& whole) {
  auto mapped = MappedFile::open(path);
  TensorFile part = parse_tensor_bytes(mapped->bytes(), path);
  std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(whole.tensors));
  whole.metadata.merge(part.metadata);
  whole.files.push_back(std::move(mapped));
  return part.format;
}

// A shard is a file of this folder, so its name is a plain file name.
void check_shard_name(const std::string& index, const std::string& shard) {
  const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                     shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  if (!plain) {
    fail(index, "the shard name {} is not that of a file in this folder", printable(shard));
  }
}

void add_shards(const std::string& folder, const std::string& index, TensorFile& whole) {
  const Json json = read_json(index, kMaxIndex);
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty()) {
    fail(index, "it has no weight_map that names the shard of each tensor");
  }
  std::set<std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string()) fail(index, "the shard of {} is no file name", printable(name));
    check_shard_name(index, shard.get_ref<const std::string&>());
    shards.insert(shard.get<std::string>());
  }
  std::vector<std::string> missing;
  for (const std::string& shard : shards) {
    if (!is_there(in_folder(folder, shard))) missing.push_back(printable(shard));
  }
  if (!missing.empty()) {
    fail(folder, "{} of the {} shards named in its index are missing, {} first. Fetch them too",
         missing.size(), shards.size(), missing.front());
  }

  std::unordered_map<std::string, const std::string*> shard_of;  // tensor -> shard it was found in
  for (const std::string& shard : shards) {
    const size_t before = whole.tensors.size();
    add_file(in_folder(folder, shard), whole);
    for (size_t i = before; i < whole.tensors.size(); ++i) {
      const auto [at, is_new] = shard_of.emplace(whole.tensors[i].name, &shard);
      if (!is_new) {
        fail(folder, "the tensor {} is in two shards, {} and {}", printable(at->first),
             printable(*at->second), printable(shard));
      }
    }
  }
  for (const auto& [name, shard] : map->items()) {
    const auto found = shard_of.find(name);
    if (found == shard_of.end() || *found->second != shard.get_ref<const std::string&>()) {
      fail(index, "it says that tensor {} is in {}, which does not hold it. {}", printable(name),
           printable(shard.get_ref<const std::string&>()), kFetchAgain);
    }
  }
}

std::vector<std::string> candidates(const std::string& folder) {
  constexpr const char* kEndings[] = {".safetensors", ".st", ".pth", ".pt", ".gguf"};
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (!at->is_regular_file(ignored)) continue;
    const std::string ending = at->path().extension().string();
    if (std::find(std::begin(kEndings), std::end(kEndings), ending) != std::end(kEndings)) {
      names.push_back(at->path().filename().string());
    }
  }
  if (error) fail(folder, "cannot list the folder: {}", error.message());
  std::sort(names.begin(), names.end());
  return names;
}

std::string single_file(const std::string& folder) {
  for (const char* usual : {"model.safetensors", "pytorch_model.bin"}) {
    if (is_there(in_folder(folder, usual))) return usual;
  }
  std::vector<std::string> names = candidates(folder);
  // An adapter beside a model is not one.
  if (names.size() > 1) {
    std::erase_if(names,
                  [](const std::string& name) { return name.starts_with("adapter_model."); });
  }
  if (names.empty() && is_there(in_folder(folder, "adapter_config.json"))) {
    fail(folder,
         "the folder holds an adapter (adapter_config.json), not a model: give the model that it "
         "was "
         "trained on with -m and this with --lora");
  }
  if (names.empty()) {
    fail(folder,
         "the folder holds no model file (model.safetensors, pytorch_model.bin, *.safetensors, "
         "*.st, *.pth, *.pt or *.gguf)");
  }
  if (names.size() > 1) {
    constexpr size_t kShown = 20;
    const size_t count = names.size();
    names.resize(std::min(count, kShown));
    for (std::string& name : names) name = printable(name);
    fail(folder,
         "the folder holds {} model files and no index that joins them: {}{}. Name one of "
         "them",
         count, fmt::join(names, ", "), count > kShown ? ", ..." : "");
  }
  return names.front();
}

}  // namespace

TensorFile open_hf_folder(const std::string& folder) {
  TensorFile whole;
  whole.path = folder;
  whole.format = FileFormat::safetensors;
  bool sharded = false;
  for (const char* name : {"model.safetensors.index.json", "pytorch_model.bin.index.json"}) {
    const std::string index = in_folder(folder, name);
    if (!sharded && is_there(index)) {
      add_shards(folder, index, whole);
      sharded = true;
    }
  }
  if (!sharded) whole.format = add_file(in_folder(folder, single_file(folder)), whole);

  const std::string config = in_folder(folder, "config.json");
  if (!is_there(config) || whole.format == FileFormat::gguf) return whole;
  whole.format = FileFormat::hf_folder;
  const nlohmann::json settings = read_json(config, kMaxConfig);
  for (const auto& [key, value] : settings.items()) {
    if (std::optional<MetaValue> meta = meta_value(value)) {
      whole.metadata.insert_or_assign(key, std::move(*meta));
    }
  }
  return whole;
}

}  // namespace anser
