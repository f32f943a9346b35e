// safetensors: u64 length of a JSON header, the header, the data.
//   {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
//    "__metadata__": {"key": "value"}}
// Offsets are bytes from the end of the header.
#include <algorithm>
#include <cctype>
#include <utility>

#include "formats/byte_reader.h"
#include "formats/checks.h"
#include "formats/json.h"

namespace anser {
namespace {

using Json = nlohmann::json;

DType type_of(const std::string& name) {
  constexpr std::pair<const char*, DType> kTypes[] = {
      {"F32", DType::f32}, {"F16", DType::f16},      {"BF16", DType::bf16}, {"F64", DType::f64},
      {"I64", DType::i64}, {"I32", DType::i32},      {"I16", DType::i16},   {"I8", DType::i8},
      {"U8", DType::u8},   {"BOOL", DType::boolean},
  };
  for (const auto& [known, type] : kTypes) {
    if (name == known) return type;
  }
  return DType::unsupported;
}

// The file's word for a type that is none of ours, fit for a message.
std::string unsupported_name(const std::string& name) {
  constexpr size_t kLongest = 32;
  const bool word = !name.empty() && name.size() <= kLongest &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return c == '_' || (c < 0x80 && std::isalnum(c) != 0);
                    });
  return word ? name : printable(name);
}

struct Entry {
  FileTensor tensor;
  uint64_t begin, end;  // bytes of the data
};

class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> data, const std::string& path)
      : data_(data), path_(path) {}

  Entry read_entry(const std::string& name, const Json& json) const {
    check_tensor_name(path_, name);
    const std::string& type =
        field(name, json, "dtype", Json::value_t::string).get_ref<const std::string&>();
    Entry entry{
        {.name = name, .type = type_of(type), .shape = {}, .strides = {}, .bytes = {}}, 0, 0};
    FileTensor& tensor = entry.tensor;
    if (tensor.type == DType::unsupported) tensor.unsupported_type = unsupported_name(type);
    for (const uint64_t dim : numbers(name, json, "shape", kMaxRank)) {
      if (dim > uint64_t(kMaxElements)) {
        fail(path_, "tensor {} has a dimension of {}, more than any file can hold", printable(name),
             dim);
      }
      tensor.shape.push_back(int64_t(dim));
    }
    const size_t size = checked_bytes(path_, name, tensor.type, tensor.shape);
    tensor.strides = contiguous_strides(tensor.shape);
    const std::vector<uint64_t> offsets = numbers(name, json, "data_offsets", 2);
    if (offsets.size() != 2 || offsets[0] > offsets[1]) {
      fail(path_, "damaged header: the data_offsets of tensor {} are not [begin, end]",
           printable(name));
    }
    entry.begin = offsets[0];
    entry.end = offsets[1];
    if (entry.end > data_.size()) {
      fail(path_, "tensor {} lies at bytes {} to {} of the data, but the file has only {}. {}",
           printable(name), entry.begin, entry.end, data_.size(), kFetchAgain);
    }
    if (tensor.type == DType::unsupported) return entry;
    if (entry.end - entry.begin != size) {
      fail(path_, "tensor {} of type {} and shape {} takes {} bytes, but its data_offsets span {}",
           printable(name), type, tensor.shape_text(), size, entry.end - entry.begin);
    }
    tensor.bytes = data_.subspan(entry.begin, size);
    return entry;
  }

 private:
  const Json& field(const std::string& name, const Json& json, const char* key,
                    Json::value_t type) const {
    const auto found = json.find(key);  // its end for what is no object
    if (found == json.end() || found->type() != type) {
      fail(path_, "damaged header: the entry {} has no {} of the right kind", printable(name), key);
    }
    return *found;
  }

  std::vector<uint64_t> numbers(const std::string& name, const Json& json, const char* key,
                                size_t most) const {
    const Json& list = field(name, json, key, Json::value_t::array);
    if (list.size() > most) {
      fail(path_, "tensor {} has {} numbers in its {}; at most {} are accepted", printable(name),
           list.size(), key, most);
    }
    std::vector<uint64_t> out;
    for (const Json& value : list) {
      if (!value.is_number_unsigned()) {
        fail(path_, "damaged header: the {} of tensor {} has something else than whole numbers",
             key, printable(name));
      }
      out.push_back(value.get<uint64_t>());
    }
    return out;
  }

  std::span<const std::byte> data_;
  const std::string& path_;
};

}  // namespace

TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& path) {
  // The format's own library accepts 100 MB, but parsed JSON takes some thirty times its text; the
  // header of a model of a thousand tensors has 100 KB.
  constexpr uint64_t kMaxHeader = 16'000'000;
  ByteReader reader(bytes, path);
  const auto length = reader.read<uint64_t>("the length of the safetensors header");
  if (length > kMaxHeader) {
    fail(path, "not a safetensors file: it states a header of {} bytes; at most {} are accepted",
         length, kMaxHeader);
  }
  const auto text = as_text(reader.take(length, "the safetensors header"));
  const auto data = bytes.subspan(reader.position());
  // The header, an entry, a list; the rest is for fields of others.
  const Json header = parse_json(text, path + ": safetensors header", 8);
  if (!header.is_object()) fail(path, "the safetensors header is not a JSON object");

  TensorFile file;
  file.path = path;
  file.format = FileFormat::safetensors;
  const HeaderReader header_reader(data, path);
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name != "__metadata__") {
      entries.push_back(header_reader.read_entry(name, json));
      continue;
    }
    for (const auto& [key, value] : json.items()) {
      if (value.is_string()) file.metadata[key] = value.get<std::string>();
    }
  }
  // JSON objects have no order; the data has.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
  std::vector<TensorRange> ranges;
  for (const Entry& entry : entries) ranges.push_back({entry.begin, entry.end, entry.tensor.name});
  check_no_overlap(path, std::move(ranges));
  for (Entry& entry : entries) file.tensors.push_back(std::move(entry.tensor));
  return file;
}

}  // namespace anser
