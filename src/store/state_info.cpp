#include "store/state_info.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "anser/error.h"
#include "anser/state.h"
#include "base/read_json.h"
#include "formats/checks.h"
#include "formats/json.h"
#include "store/state_id.h"
#include "text/utf8.h"

namespace anser {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxLabel = 100;  // bytes
constexpr size_t kMaxTags = 64;    // of a state
constexpr size_t kMaxNoteDepth = 32;
constexpr size_t kMaxModel = 200;  // bytes of a model's name
constexpr int kVersion = 1;
// A state of 16 GiB is far beyond any model, and what is claimed is allocated.
constexpr uint64_t kMaxRaw = uint64_t(1) << 34;
constexpr double kLatest = 0x1p53;  // seconds since 1970 that JSON has exactly

// Terminals and logs show it as it is.
bool is_plain_text(std::string_view text) {
  if (!is_valid_utf8(text)) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t byte = uint8_t(text[i]);
    const bool c1 = byte == 0xc2 && uint8_t(text[i + 1]) < 0xa0;  // U+0080 to U+009F
    if (byte < 0x20 || byte == 0x7f || c1) return false;
  }
  return true;
}

bool is_model_name(std::string_view text) {
  return text.size() <= kMaxModel && is_plain_text(text);
}

void check_label(const std::string& text, const char* what) {
  if (text.empty() || text.size() > kMaxLabel || !is_plain_text(text)) {
    throw Error(fmt::format(
        "{} cannot be the {} of a state: expected 1 to {} bytes of UTF-8 without control "
        "characters",
        printable(text), what, kMaxLabel));
  }
  if (is_state_id(text)) {
    throw Error(
        fmt::format("{} cannot be the {} of a state: it has the form of an id", text, what));
  }
}

// What HTTP's router lets through, and what neither clients nor proxies make anything else of.
void check_segment(const std::string& name) {
  const bool dots = name == "." || name == "..";
  if (!dots && name.find_first_of("/\\") == std::string::npos) return;
  throw Error(fmt::format(
      "{} cannot be the name of a state: names are parts of addresses, so they have no / and no \\ "
      "in them, and are neither . nor ..",
      name));
}

std::string hex(uint64_t value) {
  return fmt::format("{:016x}", value);
}

// People write notes at a shell: the error shows what JSON is. All other limits are parse_json()'s.
void check_is_json(const std::string& note) {
  try {
    read_json<Json>(note, {.depth = kMaxNoteDepth});
  } catch (const JsonFault& fault) {
    if (fault.kind != JsonFault::Kind::syntax) return;
    throw Error(
        "the note of a state is not valid JSON: expected, for instance, \"a text\" with its "
        "quotes, or {\"key\": 1}");
  }
}

// The last line of a record: the checksum of what stands before it.
std::string seal(std::string_view text) {
  return fmt::format("xxh3 {}\n", hex(XXH3_64bits(text.data(), text.size())));
}

// Takes the members of a record one by one.
class Members {
 public:
  Members(const Json& object, const std::string& source) : object_(object), source_(source) {}

  const Json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) fail(source_, "the record has no \"{}\"", key);
    return *found;
  }
  // Null is the empty text.
  std::string text(const char* key) const {
    const Json& value = at(key);
    if (value.is_null()) return "";
    if (!value.is_string()) wrong(key, "a text");
    return value.get<std::string>();
  }
  std::string id(const char* key) const {
    std::string value = text(key);
    if (!is_state_id(value)) wrong(key, "the id of a state");
    return value;
  }
  uint64_t count(const char* key) const {
    const Json& value = at(key);
    if (!value.is_number_unsigned()) wrong(key, "a whole number");
    return value.get<uint64_t>();
  }
  uint64_t bits(const char* key) const {
    const std::string value = text(key);
    const bool digits =
        value.size() == 16 && value.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!digits) wrong(key, "16 hexadecimal digits");
    return std::stoull(value, nullptr, 16);
  }
  [[noreturn]] void wrong(const char* key, const char* expected) const {
    fail(source_, "the record's \"{}\" is {}, expected {}", key,
         printable(at(key).dump(-1, ' ', true)), expected);
  }

 private:
  const Json& object_;
  const std::string& source_;
};

StateLabels labels_of(const Members& members, const std::string& source) {
  StateLabels labels;
  labels.name = members.text("name");
  const Json& tags = members.at("tags");
  if (!tags.is_array()) members.wrong("tags", "a list of texts");
  for (const Json& tag : tags) {
    if (!tag.is_string()) members.wrong("tags", "a list of texts");
    labels.tags.push_back(tag.get<std::string>());
  }
  const Json& note = members.at("note");
  if (!note.is_null()) labels.note = note.dump();
  try {
    normalize(labels, StateLabels(labels));
  } catch (const Error& error) {
    fail(source, "{}", error.what());
  }
  return labels;
}

}  // namespace

bool StateInfo::pinned() const {
  return !labels.name.empty() || std::any_of(labels.tags.begin(), labels.tags.end(),
                                             [](const auto& tag) { return tag != kResponseTag; });
}

void normalize(StateLabels& labels, const StateLabels& before) {
  if (!labels.name.empty()) check_label(labels.name, "name");
  if (labels.name != before.name) check_segment(labels.name);
  for (const std::string& tag : labels.tags) check_label(tag, "tag");
  std::sort(labels.tags.begin(), labels.tags.end());
  labels.tags.erase(std::unique(labels.tags.begin(), labels.tags.end()), labels.tags.end());
  if (labels.tags.size() > kMaxTags) {
    throw Error(
        fmt::format("{} tags for a state, at most {} are kept", labels.tags.size(), kMaxTags));
  }
  if (labels.note.empty()) return;
  check_is_json(labels.note);
  const Json note = parse_json(labels.note, "the note of a state", kMaxNoteDepth);
  labels.note = note.is_null() ? "" : note.dump();
  if (labels.note.size() > kMaxNote) {
    throw Error(fmt::format("the note of a state has {} bytes, at most {} are kept",
                            labels.note.size(), kMaxNote));
  }
}

std::string to_record(const StateInfo& info) {
  const auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
  const nlohmann::ordered_json record = {
      {"anser_state", kVersion},
      {"id", info.id},
      {"parent", text(info.parent)},
      {"name", text(info.labels.name)},
      {"tags", info.labels.tags},
      {"created", info.created},
      {"tokens", info.tokens},
      {"fingerprint", hex(info.fingerprint)},
      {"model", text(is_model_name(info.model) ? info.model : "")},
      {"content", info.content},
      {"raw_bytes", info.raw_bytes},
      {"stored_bytes", info.stored_bytes},
      {"checksum", hex(info.checksum)},
      {"note", find_json<Json>(info.labels.note).value_or(nullptr)}};
  const std::string line = record.dump() + "\n";
  return line + seal(line);
}

StateInfo parse_record(std::span<const std::byte> bytes, const std::string& source) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t end = seal("").size();
  if (text.size() < end) fail(source, "the record of a state is cut off: {} bytes", text.size());
  const std::string_view line = text.substr(0, text.size() - end);
  if (text.substr(line.size()) != seal(line)) {
    fail(source, "the record of a state is damaged: its checksum does not fit its text");
  }
  // The record itself is one level around its note.
  const Json object = parse_json(line, source, kMaxNoteDepth + 1);
  if (!object.is_object()) fail(source, "the record of a state is no JSON object");
  const Members members(object, source);
  if (members.count("anser_state") != kVersion) {
    fail(source, "the record of a state has version {}; this program reads version {}",
         members.count("anser_state"), kVersion);
  }
  StateInfo info;
  info.id = members.id("id");
  if (!members.at("parent").is_null()) info.parent = members.id("parent");
  info.labels = labels_of(members, source);
  const Json& created = members.at("created");
  const bool is_time = created.is_number() && std::abs(created.get<double>()) <= kLatest;
  if (!is_time) members.wrong("created", "seconds since 1970");
  info.created = info.last_used = created.get<double>();
  info.tokens = members.count("tokens");
  if (info.tokens > State::kMaxTokens) members.wrong("tokens", "at most 2 to the power of 53");
  info.fingerprint = members.bits("fingerprint");
  info.model = members.text("model");
  if (!is_model_name(info.model)) members.wrong("model", "a name");
  info.content = members.id("content");
  info.raw_bytes = members.count("raw_bytes");
  if (info.raw_bytes > kMaxRaw) members.wrong("raw_bytes", "at most 16 GiB");
  info.stored_bytes = members.count("stored_bytes");
  // What does not compress becomes a little larger.
  if (info.stored_bytes > 2 * kMaxRaw) members.wrong("stored_bytes", "at most 32 GiB");
  info.checksum = members.bits("checksum");
  return info;
}

}  // namespace anser
