// The state file, version 1. docs/formats.md describes it; all numbers are little endian.
//
//   0  char[8]  "ANSERST\0"
//   8  u32      version = 1
//  12  u32      element type of the payload: 0 = fp32
//  16  u64      fingerprint of the model
//  24  u64      tokens read
//  32  u32 x 4  layers, width, heads, head size
//  48  u64      count of logits: 0 or the vocabulary size
//  56  payload  the state, then the logits
//      u8 x 8   how many bytes of the text's end follow, 1 to 4; these; zeros. Not there where
//               nothing is known of the text
//  end u64      XXH3-64 of all bytes before it
#include <fmt/format.h>
#include <xxhash.h>

#include <bit>
#include <cstring>

#include "anser/error.h"
#include "anser/state.h"
#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "model/state_file.h"

namespace anser {
namespace {

static_assert(std::endian::native == std::endian::little, "state files are written as they lie");

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t type;
  uint64_t fingerprint;
  uint64_t tokens;
  uint32_t layers, width, heads, head_size;
  uint64_t logits;
};
static_assert(sizeof(Header) == 56);

constexpr char kMagic[8] = {'A', 'N', 'S', 'E', 'R', 'S', 'T', '\0'};
constexpr uint32_t kVersion = 1, kFp32 = 0;
constexpr size_t kTextEndField = 8;               // bytes
constexpr uint64_t kMaxSize = uint64_t(1) << 24;  // of each number in the header

std::string read_text_end(const std::byte* field, const std::string& source) {
  const size_t size = size_t(field[0]);
  if (size == 0 || size > State::kTextEnd) {
    throw Error(
        fmt::format("{}: the state file is damaged: {} bytes of the text's end, expected 1 "
                    "to {}",
                    source, size, State::kTextEnd));
  }
  return {reinterpret_cast<const char*>(field + 1), size};
}

}  // namespace

bool is_state_file(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof(kMagic) && std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) == 0;
}

std::vector<std::byte> State::serialize() const {
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.type = kFp32;
  header.fingerprint = fingerprint_;
  header.tokens = tokens_;
  header.layers = uint32_t(shape_.layers);
  header.width = uint32_t(shape_.width);
  header.heads = uint32_t(shape_.heads);
  header.head_size = uint32_t(shape_.head_size);
  const std::vector<float>& last = content_.logits();
  header.logits = last.size();

  const std::vector<float>& numbers = content_.numbers();
  const size_t data = numbers.size() * sizeof(float), logits = last.size() * sizeof(float);
  const size_t text = text_end_.empty() ? 0 : kTextEndField;
  const size_t body = sizeof(header) + data + logits + text;
  std::vector<std::byte> bytes(body + sizeof(uint64_t));
  std::byte* to = bytes.data();
  std::memcpy(to, &header, sizeof(header));
  if (data > 0) std::memcpy(to + sizeof(header), numbers.data(), data);
  if (logits > 0) std::memcpy(to + sizeof(header) + data, last.data(), logits);
  if (text > 0) {
    std::byte* field = to + sizeof(header) + data + logits;
    field[0] = std::byte(text_end_.size());
    std::memcpy(field + 1, text_end_.data(), text_end_.size());
  }
  const uint64_t checksum = XXH3_64bits(to, body);
  std::memcpy(to + body, &checksum, sizeof(checksum));
  return bytes;
}

State State::deserialize(std::span<const std::byte> bytes, const std::string& source) {
  if (!is_state_file(bytes)) {
    throw Error(
        fmt::format("{} is not an anser state file: it does not begin with ANSERST", source));
  }
  Header header;
  if (bytes.size() < sizeof(header) + sizeof(uint64_t)) {
    throw Error(fmt::format("{}: the state file is cut off: {} bytes, its header alone has {}",
                            source, bytes.size(), sizeof(header)));
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.version != kVersion || header.type != kFp32) {
    throw Error(fmt::format(
        "{}: state file of version {} and element type {}; this program reads version {} and type "
        "{} (fp32). Save the state again with the same version of anser.",
        source, header.version, header.type, kVersion, kFp32));
  }
  for (const uint64_t size : {uint64_t(header.layers), uint64_t(header.width),
                              uint64_t(header.heads), uint64_t(header.head_size), header.logits}) {
    if (size > kMaxSize) {
      throw Error(
          fmt::format("{}: the state file's header is damaged: a size of {}", source, size));
    }
  }
  const StateShape shape = {int(header.layers), int(header.width), int(header.heads),
                            int(header.head_size)};
  // Compared without forming the product of all four, which could overflow.
  const uint64_t floats_in_file =
      (bytes.size() - sizeof(header) - sizeof(uint64_t)) / sizeof(float);
  const uint64_t per_layer = shape.layer_floats();
  const bool countable = uint64_t(shape.heads) * shape.head_size == uint64_t(shape.width) &&
                         (per_layer == 0 || uint64_t(shape.layers) <= floats_in_file / per_layer);
  const uint64_t least =
      sizeof(header) + sizeof(uint64_t) +
      (countable ? shape.floats() + header.logits : floats_in_file) * sizeof(float);
  const bool has_text = bytes.size() == least + kTextEndField;
  const bool fits = countable && (bytes.size() == least || has_text);
  if (!fits) {
    throw Error(fmt::format(
        "{}: the state file is cut off or damaged: {} bytes do not hold the state of {} layers of "
        "width {} with {} heads of {} and {} logits",
        source, bytes.size(), shape.layers, shape.width, shape.heads, shape.head_size,
        header.logits));
  }
  const size_t body = bytes.size() - sizeof(uint64_t);
  uint64_t checksum;
  std::memcpy(&checksum, bytes.data() + body, sizeof(checksum));
  const uint64_t computed = XXH3_64bits(bytes.data(), body);
  if (checksum != computed) {
    throw Error(
        fmt::format("{}: the state file is damaged or cut off: checksum {:016x}, expected {:016x}",
                    source, computed, checksum));
  }

  State state(shape, header.fingerprint);
  state.tokens_ = header.tokens;
  if (has_text) state.text_end_ = read_text_end(bytes.data() + body - kTextEndField, source);
  std::vector<float>& last = state.logits();
  last.resize(header.logits);
  const std::byte* from = bytes.data() + sizeof(header);
  std::vector<float>& numbers = state.content_.change_numbers();
  const size_t state_bytes = numbers.size() * sizeof(float);
  if (state_bytes > 0) std::memcpy(numbers.data(), from, state_bytes);
  if (header.logits > 0) {
    std::memcpy(last.data(), from + state_bytes, header.logits * sizeof(float));
  }
  return state;
}

void State::save(const std::string& path) const {
  write_file_atomically(path, serialize());
}

State State::load(const std::string& path) {
  return deserialize(MappedFile::open(path)->bytes(), path);
}

}  // namespace anser
