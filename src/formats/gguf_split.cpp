#include "formats/gguf_split.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "formats/checks.h"
#include "formats/shard_name.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxParts = 65535;  // what five digits and the 16 bits of the format's keys hold
constexpr const char* kCountKey = "split.count";
constexpr const char* kNumberKey = "split.no";  // from 0
constexpr const char* kTensorsKey = "split.tensors.count";

std::optional<int64_t> integer(const TensorFile& file, const char* key) {
  const auto at = file.metadata.find(key);
  if (at == file.metadata.end()) return std::nullopt;
  const auto* value = std::get_if<int64_t>(&at->second);
  if (value == nullptr || *value < 0) fail(file.path, "damaged: {} is not a number from 0 on", key);
  return *value;
}

std::string said(std::optional<int64_t> value) {
  return value ? fmt::format("{}", *value) : "absent";
}

void check_part(const TensorFile& part, const TensorFile& first, int64_t number, int64_t count) {
  const auto own_number = integer(part, kNumberKey), own_count = integer(part, kCountKey);
  if (own_number != number - 1 || own_count != count) {
    fail(part.path,
         "its name says that it is part {} of {}, for which {} must be {} and {} {}; in the file "
         "they are {} and {}. Fetch all parts of one model, and keep their names",
         number, count, kNumberKey, number - 1, kCountKey, count, said(own_number),
         said(own_count));
  }
  const auto tensors = integer(part, kTensorsKey), expected = integer(first, kTensorsKey);
  if (tensors && tensors != expected) {
    fail(part.path, "its {} is {}, and that of {} is {}: they are parts of different models",
         kTensorsKey, *tensors, first.path, said(expected));
  }
  for (const auto& [key, value] : part.metadata) {
    const auto at = first.metadata.find(key);
    if (key == kNumberKey || key == "general.alignment" || at == first.metadata.end()) continue;
    if (value != at->second) {
      fail(part.path, "it disagrees with {} about {}: they are parts of different models",
           first.path, printable(key));
    }
  }
}

void check_all_there(const ShardName& name, const std::string& path) {
  constexpr size_t kShown = 5;
  std::vector<std::string> missing;
  for (int number = 1; number <= name.count; ++number) {
    std::error_code ignored;
    if (!fs::is_regular_file(name.of(number), ignored)) {
      missing.push_back(fs::path(name.of(number)).filename().string());
    }
  }
  if (missing.empty()) return;
  const size_t count = missing.size();
  missing.resize(std::min(count, kShown));
  fail(path, "{} of the {} parts of this split model are missing beside it: {}{}. Fetch them too",
       count, name.count, fmt::join(missing, ", "), count > kShown ? ", ..." : "");
}

TensorFile open_part(const std::string& path) {
  auto mapped = MappedFile::open(path);
  TensorFile part = parse_gguf(mapped->bytes(), path);
  part.files.push_back(std::move(mapped));
  return part;
}

}  // namespace

bool is_split_gguf(const TensorFile& file) {
  if (file.format != FileFormat::gguf) return false;
  const auto count = integer(file, kCountKey);
  if (count && *count > kMaxParts) {
    fail(file.path, "it is one of {} parts; at most {} are accepted", *count, kMaxParts);
  }
  return count.value_or(1) > 1;
}

TensorFile join_split_gguf(TensorFile given) {
  const std::string path = given.path;
  const int64_t count = *integer(given, kCountKey);
  const auto name = parse_shard_name(path);
  if (!name) {
    const auto number = integer(given, kNumberKey);
    fail(path,
         "it is a part of a model that was split into {} files, and its name does not tell those "
         "of the others. Give the parts their names again: NAME-{:05}-of-{:05}.gguf is this one",
         count, number.value_or(0) + 1, count);
  }
  check_part(given, given, name->number, name->count);
  check_all_there(*name, path);

  TensorFile whole;
  std::unordered_map<std::string, int> part_of;  // tensor -> the part that holds it
  for (int number = 1; number <= name->count; ++number) {
    TensorFile part = number == name->number ? std::move(given) : open_part(name->of(number));
    check_part(part, number == 1 ? part : whole, number, name->count);
    for (const FileTensor& tensor : part.tensors) {
      const auto [at, is_new] = part_of.emplace(tensor.name, number);
      if (!is_new) {
        fail(part.path, "the tensor {} is in {}, too: they are parts of different models",
             printable(tensor.name), name->of(at->second));
      }
    }
    if (number == 1) {
      whole = std::move(part);
      continue;
    }
    std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(whole.tensors));
    std::move(part.files.begin(), part.files.end(), std::back_inserter(whole.files));
  }
  const auto tensors = integer(whole, kTensorsKey);
  if (tensors && *tensors != int64_t(whole.tensors.size())) {
    fail(path, "the model was split with {} tensors, and its {} parts hold {}. {}", *tensors,
         name->count, whole.tensors.size(), kFetchAgain);
  }
  for (const char* key : {kCountKey, kNumberKey, kTensorsKey}) whole.metadata.erase(key);
  whole.path = path;
  return whole;
}

bool are_parts_of_one_gguf(std::span<const std::string> names) {
  if (names.empty()) return false;
  const auto first = parse_shard_name(names.front());
  return first && first->ending == ".gguf" &&
         std::all_of(names.begin(), names.end(), [&](const std::string& other) {
           const auto name = parse_shard_name(other);
           return name && name->goes_with(*first);
         });
}

}  // namespace anser
