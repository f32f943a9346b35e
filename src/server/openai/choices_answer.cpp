#include "server/openai/choices_answer.h"

#include <utility>

namespace anser::openai {
namespace {

Json usage_object(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.written_tokens},
          {"total_tokens", usage.prompt_tokens + usage.written_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

void add_state(const Ending& ending, Json& choice) {
  if (!ending.saving) return;
  choice["state"] = ending.state.empty() ? Json() : Json(ending.state);
  if (!ending.state_error.empty()) choice["state_error"] = ending.state_error;
  if (!ending.state_error_code.empty()) choice["state_error_code"] = ending.state_error_code;
}

}  // namespace

ChoicesAnswer::ChoicesAnswer(Heading heading, std::string object, std::string chunk_object,
                             std::vector<std::unique_ptr<Choice>> choices)
    : heading_(std::move(heading)),
      object_(std::move(object)),
      chunk_object_(std::move(chunk_object)),
      choices_(std::move(choices)),
      whole_(choices_.size()) {
  chunk_head_ = event_text(head(chunk_object_));
  chunk_head_.resize(chunk_head_.size() - 3);  // the brace and the event's end
  chunk_head_ += ",\"choices\":[";
}

std::string ChoicesAnswer::piece(int index, std::string_view text,
                                 const std::vector<TokenDetails>& details) {
  Choice& choice = *choices_[size_t(index)];
  if (heading_.stream) return events(choice.chunks(text, details));
  choice.keep(text, details);
  return {};
}

std::string ChoicesAnswer::ending(int index, const Ending& ending) {
  Choice& choice = *choices_[size_t(index)];
  if (heading_.stream) {
    std::vector<Json> chunks = choice.last_chunks(ending.reason);
    add_state(ending, chunks.back());
    return events(chunks);
  }
  JsonPieces& whole = whole_[size_t(index)];
  whole = choice.whole(ending.reason);
  Json state = Json::object();
  add_state(ending, state);
  const std::string fields = dumped(state);  // "{", fields, "}"
  whole.add(state.empty() ? "}" : "," + fields.substr(1));
  return {};
}

std::string ChoicesAnswer::closing(const Usage& usage) {
  std::string text;
  if (heading_.include_usage) {
    Json chunk = head(chunk_object_);
    chunk["choices"] = Json::array();
    chunk["usage"] = usage_object(usage);
    text = event_text(chunk);
  }
  return text + "data: [DONE]\n\n";
}

JsonPieces ChoicesAnswer::whole(const Usage& usage) {
  std::string begin = dumped(head(object_));
  begin.pop_back();  // the brace
  JsonPieces body(begin + ",\"choices\":[");
  for (size_t i = 0; i < whole_.size(); ++i) {
    if (i > 0) body.add(",");
    body.add(std::move(whole_[i]));
  }
  body.add("],\"usage\":" + dumped(usage_object(usage)) + "}");
  return body;
}

// One for every token of every stream: what all begin with was written once.
std::string ChoicesAnswer::events(const std::vector<Json>& choices) const {
  std::string text;
  for (const Json& choice : choices) {
    text += chunk_head_ + dumped(choice);
    text += heading_.include_usage ? "],\"usage\":null}\n\n" : "]}\n\n";
  }
  return text;
}

Json ChoicesAnswer::head(const std::string& object) const {
  return {{"id", heading_.id},
          {"object", object},
          {"created", heading_.created},
          {"model", heading_.model}};
}

}  // namespace anser::openai
