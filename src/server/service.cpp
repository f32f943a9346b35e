#include "server/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "anser/constraint.h"
#include "anser/error.h"
#include "server/metrics.h"
#include "server/openai/chat_prompt.h"
#include "server/openai/choices.h"
#include "server/openai/completion_request.h"
#include "server/openai/writing.h"

namespace anser {

using namespace openai;

namespace {

constexpr char kJson[] = "application/json";

int64_t unix_seconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

void send(const std::shared_ptr<http::Reply>& reply, const Json& body) {
  reply->send(200, kJson, body.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// Takes the same time wherever they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= unsigned(uint8_t(a[i]) ^ uint8_t(b.empty() ? 0 : b[i % b.size()]));
  }
  return difference == 0;
}

// Which numbers of tokens make up the first `bytes` of the text, for states to be kept there: the
// last token that ends at or before each. The text's own tokens, for a prefix may be cut otherwise.
std::vector<size_t> checkpoints(const Tokenizer& tokenizer, std::span<const Token> tokens,
                                const std::vector<size_t>& bytes) {
  std::vector<size_t> found;
  size_t at = 0, next = 0;
  for (size_t i = 0; i < tokens.size() && next < bytes.size(); ++i) {
    const size_t end = at + tokenizer.bytes_of(tokens[i]).size();
    while (next < bytes.size() && bytes[next] < end) {
      if (i > 0) found.push_back(i);
      ++next;
    }
    at = end;
  }
  return found;
}

// What the text must be, if the request says so. Throws ApiError for a schema that cannot be kept.
std::shared_ptr<const Constraint> constraint_of(const WriteRequest& request, const Model& model) {
  const int vocab = model.hyperparameters().vocab;
  if (request.json_object) return Constraint::json_object(model.tokenizer(), vocab);
  if (!request.json_schema) return nullptr;
  try {
    return Constraint::json_schema(model.tokenizer(), vocab, request.json_schema->dump());
  } catch (const Error& error) {
    throw ApiError::bad_field("response_format.json_schema.schema", error.what());
  }
}

// What this server cannot do yet, rather than doing something else.
void refuse_what_is_missing(const WriteRequest& request) {
  if (!request.state.empty()) throw ApiError::bad_field("state", "states are not kept here yet");
  if (request.save_state) throw ApiError::bad_field("save_state", "states are not kept here yet");
}

}  // namespace

Service::Service(Engine& engine, Scheduler& scheduler, ServiceOptions options)
    : engine_(engine),
      scheduler_(scheduler),
      options_(std::move(options)),
      started_(unix_seconds()) {}

http::ErrorBody Service::error_body(int status, const std::string& message) {
  const bool ours = status >= 500;
  return {kJson, ApiError(status, ours ? "server_error" : "invalid_request_error", message).body()};
}

http::Router Service::routes() {
  http::Router router;
  const auto add = [&](const char* method, const char* path, auto handler, bool open = false) {
    router.add(method, path, guarded(handler, open));
  };
  add("GET", "/health", &Service::health, true);
  add("GET", "/metrics", &Service::metrics);
  add("GET", "/v1/models", &Service::models);
  add("GET", "/v1/models/{id}", &Service::model);
  add("POST", "/v1/completions", &Service::completions);
  add("POST", "/v1/chat/completions", &Service::chat);
  add("POST", "/tokenize", &Service::tokenize);
  add("POST", "/detokenize", &Service::detokenize);
  return router;
}

http::Handler Service::guarded(void (Service::*handler)(const http::Request&, const Reply&),
                               bool open) {
  return [this, handler, open](http::Request request, Reply reply) {
    try {
      if (!open && !may_enter(request)) {
        throw ApiError(401, "authentication_error",
                       "a valid API key is needed: Authorization: Bearer KEY", {},
                       "invalid_api_key");
      }
      (this->*handler)(request, reply);
    } catch (const ApiError& error) {
      reply->send(error.status(), kJson, error.body());
    } catch (const Error& error) {
      reply->send(400, kJson, ApiError(400, "invalid_request_error", error.what()).body());
    }
  };
}

bool Service::may_enter(const http::Request& request) const {
  if (options_.api_keys.empty()) return true;
  std::string_view given = request.headers["Authorization"];
  constexpr std::string_view kBearer = "Bearer ";
  if (!given.starts_with(kBearer)) return false;
  given.remove_prefix(kBearer.size());
  bool known = false;
  for (const std::string& key : options_.api_keys) known |= equal_in_constant_time(given, key);
  return known;
}

void Service::health(const http::Request&, const Reply& reply) {
  send(reply, {{"status", "ok"}});
}

void Service::metrics(const http::Request&, const Reply& reply) {
  reply->send(200, "text/plain; version=0.0.4", prometheus_text(scheduler_.stats()));
}

Json Service::model_card() const {
  return {{"id", options_.model_name},
          {"object", "model"},
          {"created", started_},
          {"owned_by", "anser"}};
}

void Service::models(const http::Request&, const Reply& reply) {
  send(reply, {{"object", "list"}, {"data", Json::array({model_card()})}});
}

void Service::model(const http::Request& request, const Reply& reply) {
  if (request.capture("id") != options_.model_name) {
    throw ApiError::not_found(fmt::format("there is no model '{}', only '{}'",
                                          request.capture("id"), options_.model_name),
                              "model_not_found");
  }
  send(reply, model_card());
}

void Service::completions(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  const Tokenizer& tokenizer = engine_.model().tokenizer();
  const CompletionRequest wanted =
      read_completion_request(Fields(body), options_.limits, tokenizer);
  refuse_what_is_missing(wanted);
  const std::shared_ptr<const Constraint> constraint = constraint_of(wanted, engine_.model());
  const bool logprobs = wanted.top_logprobs >= 0;
  std::vector<Order> orders;
  std::vector<std::unique_ptr<Choice>> choices;
  size_t prompt_tokens = 0;
  for (const std::vector<Token>& prompt : wanted.prompts) {
    prompt_tokens += prompt.size();
    for (int i = 0; i < wanted.n; ++i) {
      Order order{engine_.model().initial_state(), prompt, wanted.generation, wanted.top_logprobs};
      order.generation.sampling.seed += uint64_t(i);
      order.generation.constraint = constraint;
      order.prompt_details = wanted.echo;
      choices.push_back(completion_choice(
          int(choices.size()), wanted.echo ? tokenizer.decode(prompt) : "", logprobs, tokenizer));
      orders.push_back(std::move(order));
    }
  }
  const Heading heading{new_id("cmpl-"), options_.model_name, unix_seconds(), wanted.stream,
                        wanted.include_usage};
  std::make_shared<Writing>(heading, "text_completion", "text_completion", reply, scheduler_)
      ->start(std::move(orders), std::move(choices), prompt_tokens);
}

void Service::chat(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  const Model& model = engine_.model();
  const Tokenizer& tokenizer = model.tokenizer();
  ChatRequest wanted = read_chat_request(Fields(body), options_.limits);
  refuse_what_is_missing(wanted);
  const std::shared_ptr<const Constraint> constraint = constraint_of(wanted, model);
  // JSON is written at once: thoughts, or the fence of a call, would have no place in it.
  if (constraint != nullptr)
    wanted.effort = Effort::unsaid, wanted.tool_choice = {ToolChoice::Kind::none, {}};
  const bool story = model.tells_stories();
  const ChatPrompt prompt =
      render_chat(wanted, constraint != nullptr ? Template::chat : options_.chat_template, story);

  std::vector<Token> tokens = tokenizer.encode(prompt.text);
  if (story && !tokenizer.is_byte_level()) tokens.insert(tokens.begin(), kEndOfText);
  if (tokens.empty()) throw ApiError::bad_field("messages", "they have no words");
  if (int64_t(tokens.size()) > options_.limits.max_prompt_tokens) {
    throw ApiError::bad_field("messages",
                              fmt::format("expected at most {} tokens, found {}",
                                          options_.limits.max_prompt_tokens, tokens.size()));
  }
  GenerateOptions generation = wanted.generation;
  generation.constraint = constraint;
  if (!story) {
    for (std::string& stop : default_stops(Template::chat)) {
      generation.stop.push_back(std::move(stop));
    }
  }
  const std::vector<Tool> tools =
      wanted.tool_choice.kind == ToolChoice::Kind::none ? std::vector<Tool>() : wanted.tools;
  std::vector<Order> orders;
  std::vector<std::unique_ptr<Choice>> choices;
  for (int i = 0; i < wanted.n; ++i) {
    Order order{model.initial_state(), tokens, generation, wanted.top_logprobs};
    order.generation.sampling.seed += uint64_t(i);
    order.checkpoints = checkpoints(tokenizer, tokens, prompt.message_ends);
    orders.push_back(std::move(order));
    choices.push_back(chat_choice(i, prompt.opening, tools, wanted.top_logprobs >= 0, tokenizer));
  }
  const Heading heading{new_id("chatcmpl-"), options_.model_name, unix_seconds(), wanted.stream,
                        wanted.include_usage};
  std::make_shared<Writing>(heading, "chat.completion", "chat.completion.chunk", reply, scheduler_)
      ->start(std::move(orders), std::move(choices), tokens.size());
}

void Service::tokenize(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  send(reply,
       {{"tokens", engine_.model().tokenizer().encode(Fields(body).required_text("content"))}});
}

void Service::detokenize(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  const Json* list = Fields(body).array("tokens");
  if (list == nullptr) throw ApiError::bad_field("tokens", "it is missing; expected a list");
  std::vector<Token> tokens;
  for (const Json& entry : *list) {
    if (!entry.is_number_integer() || entry < 0 || entry >= options_.limits.vocab) {
      throw ApiError::bad_field("tokens", fmt::format("expected tokens from 0 to {}, found {}",
                                                      options_.limits.vocab - 1, entry.dump()));
    }
    tokens.push_back(entry.get<Token>());
  }
  send(reply, {{"content", engine_.model().tokenizer().decode(tokens)}});
}

}  // namespace anser
