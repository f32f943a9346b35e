#include "server/openai/state_object.h"

#include <fmt/format.h>

#include "anser/error.h"
#include "base/read_json.h"

namespace anser::openai {
namespace {

constexpr size_t kMostTags = 64;

}  // namespace

Json state_object(const StateInfo& info) {
  const StateLabels& labels = info.labels;
  return {{"id", info.id},
          {"object", "state"},
          {"created", int64_t(info.created)},
          {"last_used", int64_t(info.last_used)},
          {"name", labels.name},
          {"tags", labels.tags},
          {"note", find_json<Json>(labels.note).value_or(nullptr)},
          {"parent", info.parent.empty() ? Json() : Json(info.parent)},
          {"tokens", info.tokens},
          {"model", info.model},
          {"fingerprint", fmt::format("{:016x}", info.fingerprint)},
          {"bytes", info.stored_bytes},
          {"raw_bytes", info.raw_bytes},
          {"checksum", fmt::format("{:016x}", info.checksum)}};
}

StateLabels read_labels(const Json& body, StateLabels labels, const std::string& path) {
  const Fields fields(body, path);
  const StateLabels before = labels;
  if (body.contains("name")) labels.name = fields.text("name").value_or("");
  if (body.contains("tags")) labels.tags = fields.texts("tags", kMostTags);
  if (body.contains("note")) {
    const Json* note = fields.any("note");
    labels.note = note == nullptr ? "" : note->dump();
    if (labels.note.size() > kMaxNote) {  // before it is read once more
      throw ApiError::bad_field(
          fields.path("note"),
          fmt::format("expected at most {} bytes of JSON, found {}", kMaxNote, labels.note.size()));
    }
  }
  // One by one, so that the one at fault can be named.
  const auto normal = [&](const char* field, StateLabels part) {
    try {
      normalize(part, before);
    } catch (const Error& error) {
      throw ApiError(400, "invalid_request_error", error.what(), fields.path(field));
    }
    return part;
  };
  return {normal("name", {labels.name, {}, {}}).name, normal("tags", {{}, labels.tags, {}}).tags,
          normal("note", {{}, {}, labels.note}).note};
}

}  // namespace anser::openai
