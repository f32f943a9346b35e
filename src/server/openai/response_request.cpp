#include "server/openai/response_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/openai/json_pieces.h"
#include "server/openai/refused_fields.h"
#include "server/openai/vllm_fields.h"
#include "server/openai/words.h"

namespace anser::openai {
namespace {

constexpr size_t kMostItems = 4096;
constexpr size_t kMostIncluded = 32;
constexpr int kMostTopLogprobs = 20;
constexpr size_t kLongestRepeated = 512;  // bytes of a field that means nothing here
constexpr char kNotInResponses[] = "a response has no place for it; ask for a chat completion";
// As OpenAI has it.
constexpr size_t kMostPairs = 16, kLongestKey = 64, kLongestValue = 512;

Json as_said(const Fields& body, const char* name) {
  const Json* value = body.any(name);
  return value == nullptr ? Json() : *value;
}

// What changes nothing here is repeated as it came, if it is short.
Json short_as_said(const Fields& body, const char* name) {
  Json value = as_said(body, name);
  return dumped(value).size() <= kLongestRepeated ? value : Json();
}

std::string required_words(const Fields& item, const char* name) {
  const std::optional<std::string> words = read_words(item, name);
  if (!words) item.fail(name, "it is missing; expected a string or a list of parts");
  return *words;
}

Message::Role read_role(const Fields& item) {
  const auto role = item.choice("role", {"user", "assistant", "system", "developer"});
  if (!role) item.fail("role", "it is missing; expected user, assistant, system or developer");
  if (*role == "user") return Message::Role::user;
  return *role == "assistant" ? Message::Role::assistant : Message::Role::system;
}

// Without a type it is a message, or, where it has nothing but an id, a reference.
std::string type_of(const Fields& item) {
  if (const auto type = item.text("type")) return *type;
  const bool refers =
      item.any("id") != nullptr && item.any("role") == nullptr && item.any("content") == nullptr;
  return refers ? "item_reference" : "message";
}

void read_item(const Fields& item, ResponseRequest& request) {
  const std::string type = type_of(item);
  if (type == "message") {
    request.messages.push_back({read_role(item), required_words(item, "content"), {}});
  } else if (type == "function_call") {
    request.messages.push_back(
        {Message::Role::assistant,
         "",
         {{item.text("call_id").value_or(""), item.required_text("name"), read_arguments(item)}}});
  } else if (type == "function_call_output") {
    request.messages.push_back({Message::Role::tool, required_words(item, "output"), {}});
  } else if (type == "item_reference") {
    if (request.references.size() == kMostReferences) {
      item.fail("type", fmt::format("expected at most {} references to items", kMostReferences));
    }
    request.references.push_back(
        {request.messages.size(), item.required_text("id"), item.path("id")});
    request.messages.push_back({Message::Role::assistant, "", {}});
  } else if (type != "reasoning") {  // models do not see what they thought before
    leave_out_item(type, request.left_out);
  }
}

void read_input(const Fields& body, ResponseRequest& request) {
  if (const auto instructions = body.text("instructions"); instructions && !instructions->empty()) {
    request.messages.push_back({Message::Role::system, *instructions, {}});
  }
  const Json* input = body.any("input");
  if (input == nullptr) body.fail("input", "it is missing; expected a text or a list of messages");
  if (input->is_string()) {
    request.messages.push_back({Message::Role::user, input->get<std::string>(), {}});
    return;
  }
  const Json& items = *body.array("input");
  if (items.empty() || items.size() > kMostItems) {
    body.fail("input", fmt::format("expected 1 to {} items, found {}", kMostItems, items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) {
    read_item(Fields(items[i], fmt::format("input[{}]", i)), request);
  }
  if (request.messages.empty()) body.fail("input", "expected one message at least");
  if (request.references.empty()) join_calls(request.messages);
}

void read_format(const Fields& body, ResponseRequest& request) {
  const auto text = body.object("text");
  if (text) request.verbosity_said = short_as_said(*text, "verbosity");
  const auto format = text ? text->object("format") : std::nullopt;
  if (!format) return;
  request.format = *text->any("format");
  const auto type = format->choice("type", {"text", "json_object", "json_schema"});
  if (!type) format->fail("type", "it is missing; expected text, json_object or json_schema");
  request.json_object = *type == "json_object";
  if (*type != "json_schema") return;
  if (!format->object("schema")) format->fail("schema", "it is missing; expected a JSON schema");
  request.json_schema = *format->any("schema");
  request.json_schema_path = format->path("schema");
  request.schema_is_strict = format->boolean("strict").value_or(true);
}

Json read_metadata(const Fields& body) {
  const auto metadata = body.object("metadata");
  if (!metadata) return {};
  const Json& said = *body.any("metadata");
  if (said.size() > kMostPairs) {
    body.fail("metadata",
              fmt::format("expected at most {} pairs, found {}", kMostPairs, said.size()));
  }
  Json pairs = Json::object();
  for (const auto& [key, value] : said.items()) {
    if (value.is_null()) continue;
    const std::string text = metadata->text(key.c_str()).value_or("");
    if (key.size() > kLongestKey || text.size() > kLongestValue) {
      body.fail("metadata",
                fmt::format("expected keys of at most {} and values of at most {} bytes",
                            kLongestKey, kLongestValue));
    }
    pairs[key] = value;
  }
  return pairs;
}

// What they add belongs to items that no answer here has, or stands in the answer as it is; Codex
// and others ask for all that they know.
constexpr std::string_view kNothingToInclude[] = {
    "code_interpreter_call.outputs", "computer_call_output.output.image_url",
    "file_search_call.results",      "message.input_image.image_url",
    "reasoning.encrypted_content",   "web_search_call.action.sources",
    "web_search_call.results"};

// Whether logprobs are wanted.
bool read_include(const Fields& body) {
  constexpr std::string_view kLogprobs = "message.output_text.logprobs";
  bool logprobs = false;
  const std::vector<std::string> names = body.texts("include", kMostIncluded);
  for (size_t i = 0; i < names.size(); ++i) {
    const bool known =
        std::ranges::find(kNothingToInclude, names[i]) != std::end(kNothingToInclude);
    logprobs |= names[i] == kLogprobs;
    if (known || names[i] == kLogprobs) continue;
    throw ApiError::bad_field(fmt::format("include[{}]", i),
                              fmt::format("expected {}, or one of {}, found '{}'", kLogprobs,
                                          fmt::join(kNothingToInclude, ", "), cut_text(names[i])));
  }
  return logprobs;
}

// Whoever says how many come with each wants them.
int read_logprobs(const Fields& body) {
  const bool included = read_include(body);
  const int top = int(body.integer("top_logprobs", 0, kMostTopLogprobs).value_or(0));
  return included || top > 0 ? top : -1;
}

// Those of them that are functions: the others are left out.
Json tools_as_said(const Fields& body) {
  Json said = as_said(body, "tools");
  if (!said.is_array()) return {};
  std::erase_if(said.get_ref<Json::array_t&>(),
                [](const Json& tool) { return tool.value("type", "") != "function"; });
  return said;
}

Json short_fields(const Fields& body) {
  Json fields = Json::object();
  for (const char* name :
       {"max_tool_calls", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
        "service_tier", "tool_choice", "top_logprobs", "user"}) {
    if (Json value = short_as_said(body, name); !value.is_null()) fields[name] = std::move(value);
  }
  return fields;
}

void read_reasoning(const Fields& body, ResponseRequest& request) {
  const auto reasoning = body.object("reasoning");
  if (!reasoning) return;
  request.effort = read_effort(*reasoning, "effort");
  request.effort_said = as_said(*reasoning, "effort");
  request.summary_said = short_as_said(*reasoning, "summary");
}

void read_truncation(const Fields& body, ResponseRequest& request) {
  request.truncation = body.choice("truncation", {"auto", "disabled"}).value_or("disabled");
  request.drop_oldest = request.truncation == "auto";
}

}  // namespace

ResponseRequest read_response_request(const Fields& body, const Limits& limits) {
  refuse_response_fields(body);
  ResponseRequest request;
  static_cast<WriteRequest&>(request) = read_write_request(body, limits);
  request.messages_field = "input";
  if (const auto most = body.token_limit("max_output_tokens", 1, limits.max_tokens)) {
    request.generation.max_tokens = *most;
  }
  check_min_tokens(body, request);
  if (request.prompt_logprobs >= 0) body.fail("prompt_logprobs", kNotInResponses);
  if (request.return_token_ids) body.fail("return_token_ids", kNotInResponses);
  read_input(body, request);
  request.tools = read_tools(body, FunctionIn::tool, request.left_out);
  request.tool_choice = read_tool_choice(body, request.tools, FunctionIn::tool);
  request.calls = read_call_form(body);
  read_truncation(body, request);
  read_reasoning(body, request);
  request.top_logprobs = read_logprobs(body);
  read_format(body, request);
  request.previous = body.text("previous_response_id").value_or("");
  if (!request.previous.empty() && !request.state.empty()) {
    body.fail("state", "previous_response_id says already where to go on from");
  }
  const auto store = body.boolean("store");
  request.store_said = store.has_value();
  request.store = store.value_or(true);
  if (request.save && !request.store) {
    body.fail("save_state", "\"store\": false says that nothing is kept");
  }
  if (request.save && !request.save->note.empty()) {
    body.object("save_state")->fail("note", "the note of a response's state is the response");
  }
  request.metadata = read_metadata(body);
  request.instructions = as_said(body, "instructions");
  request.max_output_tokens = as_said(body, "max_output_tokens");
  request.tools_said = tools_as_said(body);
  request.temperature_said = as_said(body, "temperature");
  request.top_p_said = as_said(body, "top_p");
  request.repeated = short_fields(body);
  return request;
}

void join_calls(std::vector<Message>& messages) {
  std::vector<Message> turns;
  for (Message& message : messages) {
    const bool goes_on = !message.calls.empty() && message.text.empty() && !turns.empty() &&
                         turns.back().role == Message::Role::assistant;
    if (goes_on) {
      std::ranges::move(message.calls, std::back_inserter(turns.back().calls));
    } else {
      turns.push_back(std::move(message));
    }
  }
  messages = std::move(turns);
}

std::optional<Message> read_output_item(const Json& item, const std::string& path) {
  ResponseRequest request;
  read_item(Fields(item, path), request);
  if (request.messages.empty()) return std::nullopt;
  return std::move(request.messages[0]);
}

}  // namespace anser::openai
