#include "server/openai/response_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "server/openai/logprob_object.h"

namespace anser::openai {
namespace {

Json or_else(const Json& value, Json otherwise) {
  return value.is_null() ? std::move(otherwise) : value;
}

// Thoughts are counted by their text, of which the prompt may have written the beginning.
Json usage_object(const Usage& usage, size_t reasoning_tokens) {
  reasoning_tokens = std::min(reasoning_tokens, usage.written_tokens);
  return {
      {"input_tokens", usage.prompt_tokens},
      {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}, {"cache_write_tokens", 0}}},
      {"output_tokens", usage.written_tokens},
      {"output_tokens_details", {{"reasoning_tokens", reasoning_tokens}}},
      {"total_tokens", usage.prompt_tokens + usage.written_tokens}};
}

Json text_part(bool reasoning, const std::string& text, Json logprobs = Json::array()) {
  if (reasoning) return {{"type", "reasoning_text"}, {"text", text}};
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", Json::array()},
          {"logprobs", std::move(logprobs)}};
}

Json text_item(bool reasoning, const std::string& id, const char* status, Json content) {
  if (reasoning) {
    return {{"type", "reasoning"},
            {"id", id},
            {"summary", Json::array()},
            {"content", std::move(content)},
            {"status", status}};
  }
  return {{"type", "message"},
          {"id", id},
          {"role", "assistant"},
          {"content", std::move(content)},
          {"status", status}};
}

Json tool_choice_object(const ToolChoice& choice) {
  switch (choice.kind) {
    case ToolChoice::Kind::none:
      return "none";
    case ToolChoice::Kind::automatic:
      return "auto";
    case ToolChoice::Kind::required:
      return "required";
    case ToolChoice::Kind::named:
      return {{"type", "function"}, {"name", choice.name}};
  }
  return nullptr;
}

// 0.3 for 0.3f, as people write it, and not 0.30000001192092896, which is the same number as a
// double.
double as_written(float value) {
  return std::strtod(fmt::format("{}", value).c_str(), nullptr);
}

// Those that do not change, without what may be long.
Json fixed_fields(const ResponseRequest& request) {
  const SamplingOptions& sampling = request.generation.sampling;
  Json fields = {
      {"background", false},
      {"instructions", nullptr},
      {"max_output_tokens", request.max_output_tokens},
      {"metadata", or_else(request.metadata, Json::object())},
      {"parallel_tool_calls", request.calls == CallForm::several},
      {"previous_response_id", request.previous.empty() ? Json() : Json(request.previous)},
      {"reasoning", {{"effort", request.effort_said}, {"summary", request.summary_said}}},
      {"temperature", or_else(request.temperature_said, as_written(sampling.temperature))},
      {"text", {{"format", {{"type", "text"}}}}},
      {"tool_choice",
       request.tools.empty() ? Json("auto") : tool_choice_object(request.tool_choice)},
      {"tools", Json::array()},
      {"top_p", or_else(request.top_p_said, as_written(sampling.top_p))},
      {"truncation", request.truncation}};
  if (!request.verbosity_said.is_null()) fields["text"]["verbosity"] = request.verbosity_said;
  fields.update(request.repeated);
  return fields;
}

}  // namespace

ResponseAnswer::ResponseAnswer(Heading heading, const ResponseRequest& request,
                               const ChatTemplate& form, const std::string& opening,
                               std::vector<Tool> tools, Tokenizer tokenizer)
    : heading_(std::move(heading)),
      tools_(std::move(tools)),
      tokenizer_(std::move(tokenizer)),
      logprobs_(request.top_logprobs >= 0),
      streams_logprobs_(logprobs_ && request.stream),
      stream_(form, opening, tools_, request.calls == CallForm::several) {
  fixed_of_note_ = fixed_fields(request);
  if (dumped(request.instructions).size() <= kMaxNote) {
    fixed_of_note_["instructions"] = request.instructions;
  }
  Json fixed = fixed_of_note_;
  size_t room = kMostRepeated;
  const auto repeat = [&](const Json& said, Json& to) {
    const size_t bytes = said.is_null() ? 0 : dumped(said).size();
    if (bytes == 0 || bytes > room) return;
    room -= bytes;
    to = said;
  };
  repeat(request.instructions, fixed["instructions"]);
  repeat(request.format, fixed["text"]["format"]);
  repeat(request.tools_said, fixed["tools"]);
  fixed_ = "," + dumped(fixed).substr(1);
}

Json ResponseAnswer::object(const char* status, const Usage* usage) const {
  Json object = {{"id", heading_.id},
                 {"object", "response"},
                 {"created_at", heading_.created},
                 {"status", status},
                 {"error", nullptr},
                 {"incomplete_details", nullptr},
                 {"model", heading_.model},
                 {"output", output_},
                 {"store", heading_.store && ending_.state_error.empty()},
                 {"usage", usage == nullptr ? Json() : usage_object(*usage, reasoning_tokens_)}};
  if (status == std::string_view("incomplete")) {
    object["incomplete_details"] = {{"reason", "max_output_tokens"}};
  }
  if (!ending_.state.empty()) object["state"] = ending_.state;
  if (!ending_.state_error.empty()) object["state_error"] = ending_.state_error;
  if (!ending_.state_error_code.empty()) object["state_error_code"] = ending_.state_error_code;
  return object;
}

std::string ResponseAnswer::with_fixed(const Json& object) const {
  std::string text = dumped(object);
  text.pop_back();
  return text += fixed_;
}

// A text that nothing which a model writes can hold: it has not seen the id.
std::string ResponseAnswer::logprobs_mark() const {
  return "logprobs of " + heading_.id;
}

Json ResponseAnswer::logprobs_place() const {
  return logprobs_ ? Json(logprobs_mark()) : Json::array();
}

std::string ResponseAnswer::with_logprobs(std::string text) const {
  if (!streams_logprobs_) return text;
  const std::string mark = '"' + logprobs_mark() + '"';
  const size_t at = text.find(mark);
  if (at == std::string::npos) return text;
  std::string list = "[";
  for (size_t i = 0; i < details_.size() && list.size() <= kMostRepeated; ++i) {
    list += (i > 0 ? "," : "") + dumped(logprob_object(details_[i], tokenizer_));
  }
  return text.replace(at, mark.size(), list.size() <= kMostRepeated ? list + "]" : "[]");
}

// Those that no delta has brought yet.
Json ResponseAnswer::new_logprobs() {
  Json list = Json::array();
  for (; streams_logprobs_ && details_given_ < details_.size(); ++details_given_) {
    list.push_back(logprob_object(details_[details_given_], tokenizer_));
  }
  return list;
}

std::string ResponseAnswer::response_event(const char* type, const std::string& response) {
  return fmt::format(
      "event: {0}\ndata: {{\"type\":\"{0}\",\"sequence_number\":{1},\"response\":{2}}}\n\n", type,
      sequence_++, with_logprobs(response));
}

std::string ResponseAnswer::event(const char* type, Json data) {
  Json event = {{"type", type}, {"sequence_number", sequence_++}};
  event.update(data);
  return std::string("event: ") + type + "\n" + with_logprobs(event_text(event));
}

std::string ResponseAnswer::opening() {
  const std::string response = with_fixed(object("in_progress", nullptr));
  std::string events = response_event("response.created", response);
  return events += response_event("response.in_progress", response);
}

std::string ResponseAnswer::piece(int, std::string_view text,
                                  const std::vector<TokenDetails>& details) {
  std::string events;
  for (const TokenDetails& token : details) {
    if (logprobs_) details_.add(token);
  }
  for (const auto& part : stream_.push(text)) events += add(part);
  return events;
}

std::string ResponseAnswer::add(const AnswerStream::Part& part) {
  std::string events;
  if (open_ && kind_ != part.kind) events += close_item("completed");
  if (part.kind == Kind::call) return events + add_call(part);
  if (!open_) events += open_item(part.kind);
  text_ += part.text;
  Json data = part_place();
  data["delta"] = part.text;
  if (kind_ == Kind::content) data["logprobs"] = new_logprobs();
  return events + event(kind_ == Kind::content ? "response.output_text.delta"
                                               : "response.reasoning_text.delta",
                        std::move(data));
}

std::string ResponseAnswer::next_item_id(const char* kind) const {
  const size_t behind_prefix = heading_.id.find('_') + 1;
  return fmt::format("{}_{}_{}", kind, heading_.id.substr(behind_prefix), output_.size());
}

Json ResponseAnswer::part_place() const {
  return {{"item_id", item_id_}, {"output_index", output_.size()}, {"content_index", 0}};
}

std::string ResponseAnswer::open_item(Kind kind) {
  open_ = true;
  kind_ = kind;
  text_.clear();
  const bool reasoning = kind == Kind::reasoning;
  item_id_ = next_item_id(reasoning ? "rs" : "msg");
  Json part = part_place();
  part["part"] = text_part(reasoning, "");
  std::string events =
      event("response.output_item.added",
            {{"output_index", output_.size()},
             {"item", text_item(reasoning, item_id_, "in_progress", Json::array())}});
  return events += event("response.content_part.added", std::move(part));
}

std::string ResponseAnswer::close_item(const char* status) {
  open_ = false;
  const bool reasoning = kind_ == Kind::reasoning;
  if (reasoning) reasoning_tokens_ += tokenizer_.encode(text_).size();
  std::string events;
  const bool some_left = streams_logprobs_ && details_given_ < details_.size();
  if (some_left && !reasoning) {  // of the token that ended it, for one
    Json rest = part_place();
    rest["delta"] = "";
    rest["logprobs"] = new_logprobs();
    events += event("response.output_text.delta", std::move(rest));
  }
  Json text = part_place(), part = part_place();
  text["text"] = text_;
  if (!reasoning) text["logprobs"] = logprobs_place();
  part["part"] = text_part(reasoning, text_, logprobs_place());
  Json item = text_item(reasoning, item_id_, status,
                        Json::array({text_part(reasoning, text_, logprobs_place())}));
  events += event(reasoning ? "response.reasoning_text.done" : "response.output_text.done",
                  std::move(text));
  events += event("response.content_part.done", std::move(part));
  events += event("response.output_item.done", {{"output_index", output_.size()}, {"item", item}});
  output_.push_back(std::move(item));
  return events;
}

std::string ResponseAnswer::add_call(const AnswerStream::Part& part) {
  Json item = {{"type", "function_call"}, {"id", next_item_id("fc")}, {"call_id", new_id("call_")},
               {"name", part.name},       {"arguments", ""},          {"status", "in_progress"}};
  const Json place = {{"item_id", item["id"]}, {"output_index", output_.size()}};
  std::string events =
      event("response.output_item.added", {{"output_index", output_.size()}, {"item", item}});
  Json delta = place, done = place;
  delta["delta"] = part.text;
  done["name"] = part.name;
  done["arguments"] = part.text;
  events += event("response.function_call_arguments.delta", std::move(delta));
  events += event("response.function_call_arguments.done", std::move(done));
  item["arguments"] = part.text;
  item["status"] = "completed";
  events += event("response.output_item.done", {{"output_index", output_.size()}, {"item", item}});
  output_.push_back(std::move(item));
  return events;
}

std::string ResponseAnswer::end_text(StopReason reason) {
  ended_ = true;
  status_ = reason == StopReason::length ? "incomplete" : "completed";
  std::string events;
  for (const auto& part : stream_.finish()) events += add(part);
  if (!open_ && output_.empty()) events += open_item(Kind::content);
  if (open_) events += close_item(status_);
  return events;
}

StateLabels ResponseAnswer::labels(StopReason reason, const Usage& usage, StateLabels given) {
  last_events_ = end_text(reason);
  Json note = object(status_, &usage);
  for (Json& item : note["output"]) {
    if (item["type"] == "message") item["content"][0]["logprobs"] = Json::array();
  }
  note.update(fixed_of_note_);
  const auto text = [&] { return note.dump(-1, ' ', false, Json::error_handler_t::replace); };
  if (text().size() > kMaxNote) note["instructions"] = nullptr;
  if (text().size() > kMaxNote) {
    note["output"] = Json::array();
    note["output_not_kept"] = true;
  }
  given.note = text();
  return given;
}

std::string ResponseAnswer::ending(int, const Ending& ending) {
  ending_ = ending;
  return ended_ ? std::exchange(last_events_, {}) : end_text(ending.reason);
}

std::string ResponseAnswer::closing(const Usage& usage) {
  return response_event(
      status_ == std::string_view("incomplete") ? "response.incomplete" : "response.completed",
      with_fixed(object(status_, &usage)));
}

JsonPieces ResponseAnswer::whole(const Usage& usage) {
  std::string text = with_fixed(object(status_, &usage));
  const std::string mark = '"' + logprobs_mark() + '"';
  const size_t at = logprobs_ ? text.find(mark) : std::string::npos;
  if (at == std::string::npos) return text;
  JsonPieces pieces(text.substr(0, at));
  pieces.add_list(details_.size(), [this](size_t i, std::string& to) {
    to += dumped(logprob_object(details_[i], tokenizer_));
  });
  pieces.add(text.substr(at + mark.size()));
  return pieces;
}

std::string ResponseAnswer::failure(const ApiError& error) {
  Json response = object("failed", nullptr);
  response["error"] = {{"code", "server_error"}, {"message", error.what()}};
  return response_event("response.failed", with_fixed(response));
}

}  // namespace anser::openai
