#include "server/openai/choices_answer.h"

#include <fmt/format.h>

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
                             std::vector<std::unique_ptr<Choice>> choices, More more)
    : heading_(std::move(heading)),
      object_(std::move(object)),
      chunk_object_(std::move(chunk_object)),
      choices_(std::move(choices)),
      more_(std::move(more)),
      endings_(choices_.size()) {
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
  if (!heading_.stream) {
    endings_[size_t(index)] = ending;
    return {};
  }
  std::vector<Json> chunks = choices_[size_t(index)]->last_chunks(ending.reason);
  add_state(ending, chunks.back());
  return events(std::move(chunks));
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
  // Only now: an answer may have ended before another one has brought what they share of a prompt.
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (i > 0) body.add(",");
    body.add(choices_[i]->whole(endings_[i].reason));
    Json state = Json::object();
    add_state(endings_[i], state);
    const std::string fields = dumped(state);  // "{", fields, "}"
    body.add(state.empty() ? "}" : "," + fields.substr(1));
  }
  body.add("],\"usage\":" + dumped(usage_object(usage)));
  if (more_) more_(body);
  body.add("}");
  return body;
}

namespace {

// Takes what `choice` says of the prompt out of it: members with a comma in front of each.
std::string taken_prompt_fields(Json& choice) {
  std::string members;
  for (const char* name : {"prompt_token_ids", "prompt_logprobs"}) {
    const auto at = choice.find(name);
    if (at == choice.end()) continue;
    members += fmt::format(",\"{}\":{}", name, dumped(*at));
    choice.erase(at);
  }
  return members;
}

}  // namespace

// One for every token of every stream: what all begin with was written once.
std::string ChoicesAnswer::events(std::vector<Json> choices) const {
  std::string text;
  for (Json& choice : choices) {
    const std::string members = more_ ? taken_prompt_fields(choice) : "";
    text += chunk_head_ + dumped(choice);
    text += "]" + members + (heading_.include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
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
