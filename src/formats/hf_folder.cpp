#include "formats/hf_folder.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <unordered_map>

#include "formats/byte_reader.h"
#include "formats/checks.h"
#include "formats/gguf_split.h"
#include "formats/json.h"
#include "formats/shard_name.h"

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
  Json json = parse_python_json(as_text(file->bytes()), path);
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
  part.files.push_back(std::move(mapped));
  if (is_split_gguf(part)) part = join_split_gguf(std::move(part));
  std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(whole.tensors));
  whole.metadata.merge(part.metadata);
  std::move(part.files.begin(), part.files.end(), std::back_inserter(whole.files));
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

struct Index {
  std::string path;
  Json map;                      // tensor -> shard
  std::set<std::string> shards;  // file names
  std::vector<std::string> missing;
};

Index read_index(const std::string& folder, const std::string& path) {
  const Json json = read_json(path, kMaxIndex);
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty()) {
    fail(path, "it has no weight_map that names the shard of each tensor");
  }
  Index index{path, *map, {}, {}};
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string()) fail(path, "the shard of {} is no file name", printable(name));
    check_shard_name(path, shard.get_ref<const std::string&>());
    index.shards.insert(shard.get<std::string>());
  }
  for (const std::string& shard : index.shards) {
    if (!is_there(in_folder(folder, shard))) index.missing.push_back(shard);
  }
  return index;
}

[[noreturn]] void fail_missing(const std::string& folder, const Index& index) {
  fail(folder, "{} of the {} shards named in its index are missing, {} first. Fetch them too",
       index.missing.size(), index.shards.size(), printable(index.missing.front()));
}

// Opens files of the folder as one; gives the file in which each tensor was found.
std::unordered_map<std::string, std::string> add_files(const std::string& folder,
                                                       const std::vector<std::string>& names,
                                                       TensorFile& whole) {
  std::unordered_map<std::string, std::string> file_of;
  for (const std::string& name : names) {
    const size_t before = whole.tensors.size();
    whole.format = add_file(in_folder(folder, name), whole);
    for (size_t i = before; i < whole.tensors.size(); ++i) {
      const auto [at, is_new] = file_of.emplace(whole.tensors[i].name, name);
      if (!is_new) {
        fail(folder, "the tensor {} is in two shards, {} and {}", printable(at->first),
             printable(at->second), printable(name));
      }
    }
  }
  return file_of;
}

void add_shards(const std::string& folder, const Index& index, TensorFile& whole) {
  if (!index.missing.empty()) fail_missing(folder, index);
  const auto file_of = add_files(folder, {index.shards.begin(), index.shards.end()}, whole);
  for (const auto& [name, shard] : index.map.items()) {
    const auto found = file_of.find(name);
    if (found == file_of.end() || found->second != shard.get_ref<const std::string&>()) {
      fail(index.path, "it says that tensor {} is in {}, which does not hold it. {}",
           printable(name), printable(shard.get_ref<const std::string&>()), kFetchAgain);
    }
  }
}

// "m-00001-of-00002.safetensors" -> that and "m-00002-of-00002.safetensors"; empty for the name of
// no part.
std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  const auto shard = parse_shard_name(name);
  for (int i = 1; shard && i <= shard->count; ++i) parts.push_back(shard->of(i));
  return parts;
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

// "a, b, c, ...", for messages.
std::string first_entries(const std::string& folder) {
  constexpr size_t kShown = 5, kRead = 1000;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end && names.size() < kRead;
       at.increment(error)) {
    names.push_back(printable(at->path().filename().string()));
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) return "nothing";
  const size_t count = names.size();
  names.resize(std::min(count, kShown));
  return fmt::format("{}{}", fmt::join(names, ", "), count > kShown ? ", ..." : "");
}

// The only model file of a folder, or the parts of the only one.
std::vector<std::string> only_model(const std::string& folder) {
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
         "*.st, *.pth, *.pt or *.gguf); it holds {}",
         first_entries(folder));
  }
  // Any part of a split GGUF opens them all.
  if (are_parts_of_one_gguf(names)) names.resize(1);
  const bool shards = names == parts_of(names.front());
  if (names.size() > 1 && !shards) {
    constexpr size_t kShown = 20;
    const size_t count = names.size();
    names.resize(std::min(count, kShown));
    for (std::string& name : names) name = printable(name);
    fail(folder,
         "the folder holds {} model files and no index that joins them: {}{}. Name one of "
         "them",
         count, fmt::join(names, ", "), count > kShown ? ", ..." : "");
  }
  return names;
}

constexpr const char* kUsualFiles[] = {"model.safetensors", "pytorch_model.bin"};

std::string index_of(const std::string& folder, const char* file) {
  return in_folder(folder, fmt::format("{}.index.json", file));
}

void add_model(const std::string& folder, TensorFile& whole) {
  std::optional<Index> stale;
  for (const char* name : kUsualFiles) {
    const auto passed_over = [&](const std::string& used) {
      if (!stale) return;
      whole.notes.push_back(fmt::format("{} names shards that are not there, {} first; {} is used",
                                        stale->path, printable(stale->missing.front()), used));
    };
    if (is_there(in_folder(folder, name))) {
      add_files(folder, {name}, whole);
      return passed_over(name);
    }
    if (!is_there(index_of(folder, name))) continue;
    Index index = read_index(folder, index_of(folder, name));
    if (index.missing.empty()) {
      add_shards(folder, index, whole);
      return passed_over(index.path);
    }
    if (!stale) stale = std::move(index);
  }
  if (stale) fail_missing(folder, *stale);
  add_files(folder, only_model(folder), whole);
}

std::string config_beside(const std::string& path) {
  return (fs::path(path).parent_path() / "config.json").string();
}

void add_config(const std::string& path, TensorFile& file) {
  file.config = path;
  const Json settings = read_json(path, kMaxConfig);
  for (const auto& [key, value] : settings.items()) {
    file.metadata.erase(key);
    if (std::optional<MetaValue> meta = meta_value(value)) file.metadata[key] = std::move(*meta);
  }
}

}  // namespace

TensorFile open_hf_folder(const std::string& folder) {
  TensorFile whole;
  whole.path = folder;
  add_model(folder, whole);
  const std::string config = in_folder(folder, "config.json");
  if (whole.format != FileFormat::gguf && is_there(config)) {
    whole.format = FileFormat::hf_folder;
    add_config(config, whole);
  }
  return whole;
}

std::optional<TensorFile> open_hf_shards(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  const std::string name = fs::path(path).filename().string();
  const std::vector<std::string> parts = parts_of(name);
  if (!is_there(path) || name.ends_with(".gguf")) return std::nullopt;

  std::optional<Index> index;
  for (const char* file : kUsualFiles) {
    if (index || !is_there(index_of(folder, file))) continue;
    try {
      index = read_index(folder, index_of(folder, file));
    } catch (const Error&) {
      if (!parts.empty()) throw;  // else it need not have to do with this file
    }
    if (index && index->shards.count(name) == 0) index.reset();
  }
  const size_t count = index ? index->shards.size() : parts.size();
  if (count < 2) return std::nullopt;

  TensorFile whole;
  whole.path = path;
  if (index) {
    add_shards(folder, *index, whole);
  } else {
    for (const std::string& part : parts) {
      if (!is_there(in_folder(folder, part))) {
        fail(path, "it is one of {} shards of a model, and {} is not beside it. Fetch that, too",
             count, printable(part));
      }
    }
    add_files(folder, parts, whole);
  }
  add_config_beside(path, whole);
  whole.notes.push_back(
      fmt::format("{} is one of {} shards of a model; all of them are opened", path, count));
  return whole;
}

bool is_usual_hf_file(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  return is_there(config_beside(path)) &&
         std::find(std::begin(kUsualFiles), std::end(kUsualFiles), name) != std::end(kUsualFiles);
}

void add_config_beside(const std::string& path, TensorFile& file) {
  if (is_there(config_beside(path))) add_config(config_beside(path), file);
}

}  // namespace anser
