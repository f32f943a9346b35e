// The state file. docs/formats.md describes it; all numbers are little endian.
//
//   0  char[8]  "ANSERST\0"
//   8  u32      version: 2, or 1
//  12  u32      element type of the payload: 0 = fp32
//  16  u64      fingerprint of the model
//  24  u64      tokens read
//  32  u32 x 4  layers, width, heads, head size
//  48  u64      count of logits: 0 or the vocabulary size
//  56  u64      count of groups, 0: it is not known whose the state is
//  64  u8 x 8   how many bytes of the text's end follow, 0 to 7; these; zeros
//  72  payload  the state, the logits; the groups of ModelSketch as u64
//  end u64      XXH3-64 of all bytes before it
//
// Version 1 has neither groups nor the text's end: its payload begins at 56.
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "anser/error.h"
#include "anser/state.h"
#include "base/atomic_file.h"
#include "base/read_file.h"
#include "model/model_sketch.h"
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

// The end of the text that a state has read, see State::text_end.
struct TextEnd {
  uint8_t size;
  char bytes[State::kTextEnd];
};
static_assert(sizeof(TextEnd) == 8);
constexpr size_t kHeader = sizeof(Header) + sizeof(uint64_t) + sizeof(TextEnd);  // of version 2

constexpr char kMagic[8] = {'A', 'N', 'S', 'E', 'R', 'S', 'T', '\0'};
constexpr uint32_t kVersion1 = 1, kVersion = 2, kFp32 = 0;
constexpr uint64_t kMaxSize = uint64_t(1) << 24;  // of each size in the header

using Group = ModelSketch::Group;

// The index of the first number that is not finite, or the count.
size_t find_not_finite(std::span<const float> x) {
  constexpr size_t kPart = 1024;
  for (size_t from = 0; from < x.size(); from += kPart) {
    const auto part = x.subspan(from, std::min(kPart, x.size() - from));
    float sum = 0;  // NaN, once x - x is, which is 0 for finite numbers
    for (const float number : part) sum += number - number;
    if (sum == 0) continue;
    return from + size_t(std::ranges::find_if_not(part, [](float n) { return std::isfinite(n); }) -
                         part.begin());
  }
  return x.size();
}

// Such a state spoils all that is computed from it. `source`: as a message begins.
void check_finite(const StateShape& shape, std::span<const float> numbers,
                  std::span<const float> logits, const std::string& source) {
  const auto fail = [&](float number, const std::string& where) {
    throw Error(
        fmt::format("{} holds {} in {}: it is damaged, or was made by a model whose numbers "
                    "overflow",
                    source, std::isnan(number) ? "NaN" : "infinity", where));
  };
  if (const size_t at = find_not_finite(numbers); at < numbers.size()) {
    const size_t layer = at / shape.layer_floats(), in_layer = at % shape.layer_floats();
    const size_t D = size_t(shape.width), head = size_t(shape.head_size) * shape.head_size;
    fail(numbers[at],
         fmt::format("layer {}, {}", layer,
                     in_layer < D       ? "att_shift"
                     : in_layer < 2 * D ? "ffn_shift"
                                        : fmt::format("S of head {}", (in_layer - 2 * D) / head)));
  }
  if (const size_t at = find_not_finite(logits); at < logits.size()) {
    fail(logits[at], fmt::format("the logit of token {}", at));
  }
}

void check_tokens(uint64_t tokens, const std::string& source) {
  if (tokens <= State::kMaxTokens) return;
  throw Error(fmt::format("{}: it claims to have read {} tokens, expected at most {}", source,
                          tokens, State::kMaxTokens));
}

std::string text_of(const TextEnd& end, const std::string& source) {
  if (end.size > State::kTextEnd) {
    throw Error(fmt::format(
        "{}: the state file is damaged: {} bytes of the text's end, expected at most {}", source,
        end.size, State::kTextEnd));
  }
  return {end.bytes, end.size};
}

}  // namespace

bool is_state_file(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof(kMagic) && std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) == 0;
}

std::optional<std::vector<std::byte>> read_state_file(const std::string& path) {
  // The largest models' states have less than a tenth of that.
  constexpr uint64_t kMostBytes = uint64_t(1) << 30;
  if (!is_state_file(read_file_begin(path, sizeof(kMagic)))) return std::nullopt;
  return read_file(path, kMostBytes);
}

std::vector<std::byte> State::serialize() const {
  const std::vector<float>& last = content_.logits();
  const std::vector<float>& numbers = content_.numbers();
  check_finite(shape_, numbers, last, "the state cannot be saved: it");
  check_tokens(tokens_, "the state cannot be saved");
  const std::span<const Group> groups =
      sketch_ != nullptr ? std::span<const Group>(sketch_->groups()) : std::span<const Group>();

  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = groups.empty() && text_end_.empty() ? kVersion1 : kVersion;
  header.type = kFp32;
  header.fingerprint = fingerprint_;
  header.tokens = tokens_;
  header.layers = uint32_t(shape_.layers);
  header.width = uint32_t(shape_.width);
  header.heads = uint32_t(shape_.heads);
  header.head_size = uint32_t(shape_.head_size);
  header.logits = last.size();

  const uint64_t count = groups.size();
  std::vector<std::byte> bytes((header.version == kVersion ? kHeader : sizeof(header)) +
                               groups.size_bytes() +
                               (numbers.size() + last.size()) * sizeof(float) + sizeof(uint64_t));
  std::byte* to = bytes.data();
  const auto append = [&](const void* from, size_t size) {
    if (size > 0) std::memcpy(to, from, size);
    to += size;
  };
  append(&header, sizeof(header));
  if (header.version == kVersion) {
    TextEnd end = {};
    end.size = uint8_t(text_end_.size());
    std::memcpy(end.bytes, text_end_.data(), text_end_.size());
    append(&count, sizeof(count));
    append(&end, sizeof(end));
  }
  append(numbers.data(), numbers.size() * sizeof(float));
  append(last.data(), last.size() * sizeof(float));
  append(groups.data(), groups.size_bytes());
  const uint64_t checksum = XXH3_64bits(bytes.data(), size_t(to - bytes.data()));
  append(&checksum, sizeof(checksum));
  return bytes;
}

State State::deserialize(std::span<const std::byte> bytes, const std::string& source) {
  if (!is_state_file(bytes)) {
    throw Error(
        fmt::format("{} is not an anser state file: it does not begin with ANSERST", source));
  }
  Header header;
  uint64_t groups = 0;
  TextEnd text_end = {};
  const auto check_header = [&](size_t size) {
    if (bytes.size() >= size + sizeof(uint64_t)) return;
    throw Error(fmt::format("{}: the state file is cut off: {} bytes, its header alone has {}",
                            source, bytes.size(), size));
  };
  check_header(sizeof(header));
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.version < kVersion1 || header.version > kVersion || header.type != kFp32) {
    throw Error(fmt::format(
        "{}: state file of version {} and element type {}; this program reads versions {} and {} "
        "and type {} (fp32). Save the state again with the same version of anser.",
        source, header.version, header.type, kVersion1, kVersion, kFp32));
  }
  size_t begin = sizeof(header);
  if (header.version == kVersion) {
    check_header(kHeader);
    std::memcpy(&groups, bytes.data() + begin, sizeof(groups));
    std::memcpy(&text_end, bytes.data() + begin + sizeof(groups), sizeof(text_end));
    begin = kHeader;
  }
  for (const uint64_t size :
       {uint64_t(header.layers), uint64_t(header.width), uint64_t(header.heads),
        uint64_t(header.head_size), header.logits, groups}) {
    if (size > kMaxSize) {
      throw Error(
          fmt::format("{}: the state file's header is damaged: a size of {}", source, size));
    }
  }
  const StateShape shape = {int(header.layers), int(header.width), int(header.heads),
                            int(header.head_size)};
  // Compared without forming the product of all four, which could overflow.
  const uint64_t floats_in_file = (bytes.size() - begin - sizeof(uint64_t)) / sizeof(float);
  const uint64_t per_layer = shape.layer_floats();
  const bool fits = uint64_t(shape.heads) * shape.head_size == uint64_t(shape.width) &&
                    (per_layer == 0 || uint64_t(shape.layers) <= floats_in_file / per_layer) &&
                    bytes.size() == begin + sizeof(uint64_t) + groups * sizeof(Group) +
                                        (shape.floats() + header.logits) * sizeof(float);
  if (!fits) {
    throw Error(fmt::format(
        "{}: the state file is cut off or damaged: {} bytes do not hold the state of {} layers of "
        "width {} with {} heads of {}, {} logits and {} groups of weights",
        source, bytes.size(), shape.layers, shape.width, shape.heads, shape.head_size,
        header.logits, groups));
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

  check_tokens(header.tokens, source);
  State state(shape, header.fingerprint);
  state.tokens_ = header.tokens;
  state.text_end_ = text_of(text_end, source);
  std::vector<float>& last = state.logits();
  last.resize(header.logits);
  std::vector<float>& numbers = state.content_.change_numbers();
  const std::byte* from = bytes.data() + begin;
  const auto take = [&](auto& to) {
    const size_t size = to.size() * sizeof(to[0]);
    if (size > 0) std::memcpy(to.data(), from, size);
    from += size;
  };
  take(numbers);
  take(last);
  if (groups > 0) {
    std::vector<Group> order(groups);
    take(order);
    state.sketch_ = std::make_shared<const ModelSketch>(std::move(order));
  }
  check_finite(shape, numbers, last, source);
  return state;
}

void State::save(const std::string& path) const {
  write_file_atomically(path, serialize(), Readers::owner);
}

State State::load(const std::string& path) {
  const std::optional<std::vector<std::byte>> bytes = read_state_file(path);
  return deserialize(bytes ? std::span<const std::byte>(*bytes) : std::span<const std::byte>(),
                     path);
}

}  // namespace anser
