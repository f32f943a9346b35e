#include "server/item_references.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "base/read_json.h"
#include "store/state_id.h"

namespace anser {

using namespace openai;

namespace {

// "msg_STATE_0" is an item of the response "resp_STATE". Empty: it is none.
std::string state_of_item(const std::string& id) {
  const size_t begin = id.find('_'), end = id.rfind('_');
  if (begin == std::string::npos || begin == end) return {};
  std::string state = id.substr(begin + 1, end - begin - 1);
  return is_state_id(state) ? state : std::string();
}

// Remembers the last response: references to one come one after the other.
class ItemReader {
 public:
  explicit ItemReader(StateDesk& desk) : desk_(desk) {}

  Json item(const ItemReference& reference) {
    const std::string state = state_of_item(reference.id);
    if (!state.empty() && state != state_) {
      response_ = note_of(state);
      state_ = state;
    }
    if (!state.empty() && response_.is_object() && response_.contains("output")) {
      for (const Json& item : response_["output"]) {
        if (item.is_object() && item.contains("id") && item["id"] == reference.id) return item;
      }
    }
    throw ApiError(404, "invalid_request_error",
                   fmt::format("{}: there is no item '{}': its response was not stored, is no "
                               "longer kept, or is too long to be kept word for word",
                               reference.path, cut_text(reference.id)),
                   reference.path, "item_not_found");
  }

 private:
  Json note_of(const std::string& state) {
    const std::optional<StateInfo> info = desk_.states().find(state);
    if (!info) return nullptr;
    return find_json<Json>(info->labels.note).value_or(nullptr);
  }

  StateDesk& desk_;
  std::string state_;
  Json response_;
};

size_t bytes_of(const Message& message) {
  size_t bytes = message.text.size();
  for (const ToolCall& call : message.calls) bytes += call.name.size() + call.arguments.size();
  return bytes;
}

}  // namespace

void resolve_references(ResponseRequest& request, StateDesk& desk) {
  if (request.references.empty()) return;
  ItemReader reader(desk);
  std::vector<bool> unseen(request.messages.size());
  size_t bytes = 0;
  for (const ItemReference& reference : request.references) {
    std::optional<Message> message = read_output_item(reader.item(reference), reference.path);
    unseen[reference.message] = !message;
    if (!message) continue;
    bytes += bytes_of(*message);
    if (bytes > kMostReferredBytes) {
      throw ApiError::bad_field(reference.path,
                                fmt::format("expected items of at most {} bytes together, found "
                                            "more",
                                            kMostReferredBytes));
    }
    request.messages[reference.message] = *std::move(message);
  }
  std::vector<Message> seen;
  for (size_t i = 0; i < request.messages.size(); ++i) {
    if (!unseen[i]) seen.push_back(std::move(request.messages[i]));
  }
  request.messages = std::move(seen);
  join_calls(request.messages);
  if (request.messages.empty()) {
    throw ApiError::bad_field("input",
                              "expected one message at least; models do not see thoughts "
                              "of earlier answers");
  }
}

}  // namespace anser
