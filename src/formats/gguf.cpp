// GGUF 2 and 3: "GGUF", u32 version, u64 tensors, u64 key-values; the key-values; the tensor infos
// (name, u32 rank, u64 dimensions innermost first, u32 type, u64 offset into the data); padding to
// general.alignment; the data. A string is u64 length and bytes. Little endian.
#include <algorithm>
#include <bit>
#include <iterator>
#include <optional>

#include "formats/byte_reader.h"
#include "formats/checks.h"

namespace anser {
namespace {

// Types by their numbers in files; a name alone is that of a type which is not read.
struct TypeId {
  uint32_t id;
  DType type;
  const char* name = nullptr;  // where it is DType::unsupported
};
constexpr TypeId unsupported(uint32_t id, const char* name) {
  return {id, DType::unsupported, name};
}
constexpr TypeId kTypeIds[] = {
    {0, DType::f32},
    {1, DType::f16},
    {2, DType::q4_0},
    {3, DType::q4_1},
    unsupported(4, "Q4_2"),
    unsupported(5, "Q4_3"),
    {6, DType::q5_0},
    {7, DType::q5_1},
    {8, DType::q8_0},
    unsupported(9, "Q8_1"),
    {10, DType::q2_k},
    {11, DType::q3_k},
    {12, DType::q4_k},
    {13, DType::q5_k},
    {14, DType::q6_k},
    unsupported(15, "Q8_K"),
    unsupported(16, "IQ2_XXS"),
    unsupported(17, "IQ2_XS"),
    unsupported(18, "IQ3_XXS"),
    unsupported(19, "IQ1_S"),
    {20, DType::iq4_nl},
    unsupported(21, "IQ3_S"),
    unsupported(22, "IQ2_S"),
    {23, DType::iq4_xs},
    {24, DType::i8},
    {25, DType::i16},
    {26, DType::i32},
    {27, DType::i64},
    {28, DType::f64},
    unsupported(29, "IQ1_M"),
    {30, DType::bf16},
    unsupported(31, "Q4_0_4_4"),
    unsupported(32, "Q4_0_4_8"),
    unsupported(33, "Q4_0_8_8"),
    unsupported(34, "TQ1_0"),
    unsupported(35, "TQ2_0"),
    unsupported(36, "IQ4_NL_4_4"),
    unsupported(37, "IQ4_NL_4_8"),
    unsupported(38, "IQ4_NL_8_8"),
    unsupported(39, "MXFP4"),
    unsupported(40, "NVFP4"),
    unsupported(41, "Q1_0"),
};

void set_type(FileTensor& tensor, uint32_t id) {
  tensor.type = DType::unsupported;
  for (const TypeId& known : kTypeIds) {
    if (known.id != id) continue;
    tensor.type = known.type;
    if (known.name != nullptr) tensor.unsupported_type = known.name;
    return;
  }
  tensor.unsupported_type = fmt::format("number {} of ggml", id);
}

enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kValueTypes
};

// Metadata is copied, and takes up to eight times its bytes in memory. The World vocabulary has 2
// MB, the largest vocabularies 20.
constexpr uint64_t kMaxMetadata = uint64_t{1} << 28;
// A hundred times what the largest models have.
constexpr uint64_t kMaxGgufTensors = 200'000;

class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(path), reader_(bytes, path) {}

  TensorFile read() {
    file_.path = path_;
    file_.format = FileFormat::gguf;
    if (as_text(reader_.take(4, "the magic")) != "GGUF") fail(path_, "not a GGUF file");
    check_version(reader_.read<uint32_t>("the version"));
    const auto tensors = reader_.read<uint64_t>("the number of tensors");
    const auto pairs = reader_.read<uint64_t>("the number of key-values");
    // The least that each can take: name length, one byte of name, rank, type, offset; key length,
    // one byte of key, type, one byte of value.
    check_count(tensors, 8 + 1 + 4 + 4 + 8, "tensors");
    check_count(pairs, 8 + 1 + 4 + 1, "key-values");
    if (tensors > kMaxGgufTensors) {
      fail(path_, "it states {} tensors; at most {} are accepted", tensors, kMaxGgufTensors);
    }
    for (uint64_t i = 0; i < pairs; ++i) read_pair();
    read_tensors(tensors);
    return std::move(file_);
  }

 private:
  void check_version(uint32_t version) const {
    if (version == 2 || version == 3) return;
    if ((version & 0xffff) == 0) {
      fail(path_, "a big-endian GGUF file, expected a little-endian one");
    }
    fail(path_,
         "GGUF version {}, expected 2 or 3. Convert the model again with a current converter",
         version);
  }

  void check_count(uint64_t count, uint64_t least_bytes, const char* what) const {
    if (count > reader_.remaining() / least_bytes) {
      fail(path_, "damaged: it states {} {}, which cannot stand in the {} bytes left. {}", count,
           what, reader_.remaining(), kFetchAgain);
    }
  }

  // Before `bytes` more of metadata are read.
  void check_metadata(uint64_t bytes) const {
    if (reader_.position() > kMaxMetadata || bytes > kMaxMetadata - reader_.position()) {
      fail(path_, "its metadata has more than {} bytes, the most that are accepted", kMaxMetadata);
    }
  }

  std::string read_string(const char* what) {
    const auto length = reader_.read<uint64_t>(what);
    if (length <= reader_.remaining()) check_metadata(length);
    return std::string(as_text(reader_.take(length, what)));
  }

  uint32_t read_value_type() {
    const auto type = reader_.read<uint32_t>("a value's type");
    if (type >= kValueTypes) {
      fail(path_, "damaged: value type {} in the metadata before byte {}, expected 0 to {}", type,
           reader_.position(), kValueTypes - 1);
    }
    return type;
  }

  void read_pair() {
    check_metadata(0);
    std::string key = read_string("a metadata key");
    if (key.empty() || key.size() > kMaxNameBytes || !valid_utf8(key)) {
      fail(path_, "damaged: the metadata key {} is no name", printable(key));
    }
    if (file_.metadata.count(key) != 0) {
      fail(path_, "damaged: the metadata key {} occurs twice", printable(key));
    }
    const uint32_t type = read_value_type();
    std::optional<MetaValue> value = type == kArray ? read_array(0) : read_scalar(type);
    if (value) file_.metadata.emplace(std::move(key), std::move(*value));
  }

  MetaValue read_scalar(uint32_t type) {
    if (type == kString) return read_string("a metadata string");
    if (type == kBool) return read_integer(kBool) != 0;
    if (type == kF32 || type == kF64) return read_real(type);
    if (type == kU64) {
      const auto value = reader_.read<uint64_t>("a metadata value");
      // Nothing that counts is that large (a hash may be): near enough.
      if (value > uint64_t(INT64_MAX)) return double(value);
      return int64_t(value);
    }
    return read_integer(type);
  }

  int64_t read_integer(uint32_t type) {
    const char* const what = "a metadata value";
    switch (type) {
      case kU8:
      case kBool:
        return reader_.read<uint8_t>(what);
      case kI8:
        return reader_.read<int8_t>(what);
      case kU16:
        return reader_.read<uint16_t>(what);
      case kI16:
        return reader_.read<int16_t>(what);
      case kU32:
        return reader_.read<uint32_t>(what);
      case kI32:
        return reader_.read<int32_t>(what);
      default:  // kU64, kI64
        return reader_.read<int64_t>(what);
    }
  }

  double read_real(uint32_t type) {
    const char* const what = "a metadata value";
    return type == kF32 ? double(reader_.read<float>(what)) : reader_.read<double>(what);
  }

  static uint64_t least_bytes(uint32_t type) {
    // An array within an array: type and count. A string: its length.
    constexpr uint64_t kLeast[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
    static_assert(std::size(kLeast) == kValueTypes);
    return kLeast[type];
  }

  // Arrays of arrays are read over: no model of ours has any. (Nothing then.)
  std::optional<MetaValue> read_array(int depth) {
    constexpr int kMaxDepth = 4;
    if (depth > kMaxDepth) fail(path_, "damaged: metadata arrays are nested too deeply");
    const uint32_t type = read_value_type();
    const auto count = reader_.read<uint64_t>("an array's length");
    check_count(count, least_bytes(type), "array elements");
    check_metadata(count * least_bytes(type));
    if (type == kArray) {
      for (uint64_t i = 0; i < count; ++i) read_array(depth + 1);
      return std::nullopt;
    }
    if (type == kString) {
      return read_elements<std::string>(count, [&] { return read_string("a metadata string"); });
    }
    if (type == kF32 || type == kF64) {
      return read_elements<double>(count, [&] { return read_real(type); });
    }
    return read_elements<int64_t>(count, [&] { return read_integer(type); });
  }

  template <typename T, typename Read>
  static std::vector<T> read_elements(uint64_t count, Read read_one) {
    std::vector<T> out;
    out.reserve(count);
    for (uint64_t i = 0; i < count; ++i) out.push_back(read_one());
    return out;
  }

  // A tensor's place, before it is known where the data starts.
  struct Info {
    uint64_t offset;
    size_t bytes;
  };

  void read_tensors(uint64_t count) {
    std::vector<Info> infos;
    infos.reserve(count);
    file_.tensors.reserve(count);
    const uint64_t alignment = read_alignment();
    for (uint64_t i = 0; i < count; ++i) infos.push_back(read_info(alignment));

    const uint64_t start = (reader_.position() + alignment - 1) / alignment * alignment;
    const auto data = bytes_.subspan(std::min<uint64_t>(start, bytes_.size()));
    std::vector<TensorRange> ranges;
    ranges.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      FileTensor& tensor = file_.tensors[i];
      const auto [offset, size] = infos[i];
      if (offset > data.size() || size > data.size() - offset) {
        fail(path_,
             "tensor {} ({} {}, {} bytes at byte {} of the data) does not lie within the {} bytes "
             "of "
             "data. {}",
             printable(tensor.name), tensor.type_name(), tensor.shape_text(), size, offset,
             data.size(), kFetchAgain);
      }
      tensor.bytes = data.subspan(offset, size);
      ranges.push_back({offset, offset + size, tensor.name});
    }
    check_unique_names(path_, file_.tensors);
    check_no_overlap(path_, std::move(ranges));
  }

  uint64_t read_alignment() const {
    constexpr int64_t kDefault = 32, kLargest = 1 << 20;
    const auto found = file_.metadata.find("general.alignment");
    if (found == file_.metadata.end()) return kDefault;
    const auto* value = std::get_if<int64_t>(&found->second);
    if (value == nullptr || *value < 1 || *value > kLargest ||
        !std::has_single_bit(uint64_t(*value))) {
      fail(path_, "damaged: general.alignment is no power of two up to {}", kLargest);
    }
    return uint64_t(*value);
  }

  Info read_info(uint64_t alignment) {
    FileTensor& tensor = file_.tensors.emplace_back();
    const auto name_bytes = reader_.read<uint64_t>("a tensor's name");
    tensor.name = as_text(reader_.take(name_bytes, "a tensor's name"));
    check_tensor_name(path_, tensor.name);
    const auto rank = reader_.read<uint32_t>("a tensor's rank");
    if (rank > kMaxRank) {
      fail(path_, "tensor {} has {} dimensions; at most {} are accepted", printable(tensor.name),
           rank, kMaxRank);
    }
    tensor.shape.resize(rank);
    for (uint32_t i = 0; i < rank; ++i) {
      const auto dim = reader_.read<uint64_t>("a tensor's dimension");
      if (dim > uint64_t(kMaxElements)) {
        fail(path_, "tensor {} has a dimension of {}, more than any file can hold",
             printable(tensor.name), dim);
      }
      tensor.shape[rank - 1 - i] = int64_t(dim);
    }
    set_type(tensor, reader_.read<uint32_t>("a tensor's type"));
    const auto offset = reader_.read<uint64_t>("a tensor's offset");
    if (offset % alignment != 0) {
      fail(path_, "damaged: tensor {} starts at byte {} of the data, expected a multiple of {}",
           printable(tensor.name), offset, alignment);
    }
    const size_t size = checked_bytes(path_, tensor.name, tensor.type, tensor.shape);
    tensor.strides = contiguous_strides(tensor.shape);
    return {offset, size};
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
  ByteReader reader_;
  TensorFile file_;
};

}  // namespace

TensorFile parse_gguf(std::span<const std::byte> bytes, const std::string& path) {
  return GgufReader(bytes, path).read();
}

}  // namespace anser
