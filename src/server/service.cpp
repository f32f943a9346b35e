#include "server/service.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "anser/error.h"
#include "base/answer_seed.h"
#include "server/answering.h"
#include "server/client.h"
#include "server/logprob_room.h"
#include "server/metrics.h"
#include "server/openai/choices.h"
#include "server/openai/completion_request.h"
#include "server/openai/request_details.h"
#include "server/openapi.h"
#include "server/orders.h"
#include "server/tokenizing.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace anser {

using namespace openai;

namespace {

// One makes a piece of JSON much faster than a client takes it.
constexpr size_t kManySenders = 1024;

constexpr char kNeedsKey[] =
    "a valid API key is needed: Authorization: Bearer KEY, or x-api-key: KEY";

// The key of "Authorization: Bearer KEY", whose scheme is compared without regard to case (RFC
// 9110, 11.1); "" where there is none.
std::string_view bearer_key(std::string_view given) {
  constexpr std::string_view kScheme = "Bearer ";
  if (!http::equal_names(given.substr(0, kScheme.size()), kScheme)) return {};
  given.remove_prefix(kScheme.size());
  return given.substr(std::min(given.find_first_not_of(' '), given.size()));
}

// What a client gives as its key, "" where it gives none. Some give two, of which one may be for
// somebody else.
std::string_view key_of(const http::Request& request, const ApiKeys& keys) {
  const std::string_view bearer = bearer_key(request.headers["Authorization"]);
  const std::string_view other = request.headers["x-api-key"];
  return other.empty() || keys.knows(bearer) ? bearer : other;
}

ApiError no_key(const std::string& message) {
  return ApiError(401, "authentication_error", message, {}, "invalid_api_key");
}

// What needs no key takes no bodies to speak of: else those without one could fill what all bodies
// have together. So much always finds room (--received-mb, of 16 a 4096th).
constexpr size_t kMostWithoutKey = 4096;

std::optional<http::Refusal> refuse_body(const http::Request& header) {
  const std::string_view length = header.headers["Content-Length"];
  size_t bytes = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bytes);
  if (error == std::errc() && bytes <= kMostWithoutKey) return std::nullopt;
  return http::Refusal{
      413, fmt::format("this address takes no body; one of at most {} bytes, whose length is told "
                       "before, is passed over",
                       kMostWithoutKey)};
}

// A text needs something to go on from.
void check_prompts(const CompletionRequest& wanted, const State& state) {
  if (state.has_logits()) return;
  for (size_t i = 0; i < wanted.prompts.size(); ++i) {
    if (!wanted.prompts[i].tokens.empty()) continue;
    throw ApiError::bad_field(wanted.prompts.size() == 1 ? "prompt" : fmt::format("prompt[{}]", i),
                              "it is empty, and there is no state with something to go on from");
  }
}

}  // namespace

Service::Service(Engine& engine, Scheduler& scheduler, ServiceOptions options)
    : engine_(engine),
      scheduler_(scheduler),
      options_(std::move(options)),
      left_out_(std::make_shared<LeftOutLog>(options_.notice)),
      workers_(options_.on_fault),
      state_routes_(engine.model(), scheduler, options_.desk, workers_, options_.limits,
                    options_.form),
      response_routes_(engine.model(), scheduler, options_.desk, workers_, options_.limits,
                       {options_.model_name, options_.form, options_.stream_interval, left_out_,
                        options_.budgets, &senders_}),
      trace_route_(engine, scheduler, options_.desk, workers_, state_routes_),
      started_(unix_seconds()),
      senders_(1, kManySenders) {}

Service::~Service() {
  // A request may go from one to the other and back.
  do {
    workers_.wait();
    if (options_.desk != nullptr) options_.desk->rendering().wait();
    if (options_.desk != nullptr) options_.desk->errands().wait();
  } while (!workers_.idle());
}

http::ErrorBody Service::error_body(int status, const std::string& message) {
  if (status == 401) return {kJsonType, no_key(message).body()};
  const bool ours = status >= 500;
  return {kJsonType,
          ApiError(status, ours ? "server_error" : "invalid_request_error", message).body()};
}

std::optional<http::Refusal> Service::refusal(const http::Request& header) const {
  const ApiKeys& keys = options_.api_keys;
  if (keys.empty() || !keys.refuses(key_of(header, keys))) return std::nullopt;
  return http::Refusal{401, kNeedsKey, {{"WWW-Authenticate", kChallenge}}};
}

http::Router Service::routes() {
  std::vector<Route> table = this->table();
  description_ = openapi_document(table, !options_.api_keys.empty()).dump();
  http::Router router;
  for (Route& route : table) {
    http::Options::AskRefusal refusal = refuse_body;
    if (route.needs_key) refusal = std::bind_front(&Service::refusal, this);
    Handle handle = std::move(route.handle);
    if (route.on_worker) handle = on_worker(std::move(handle));
    router.add(route.method, route.path, guarded(std::move(handle), !route.needs_key),
               std::move(refusal));
  }
  return router;
}

http::Handler Service::guarded(Handle handle, bool open) {
  return [this, handle = std::move(handle), open](http::Request request, Reply reply) {
    answering(*reply, [&] {
      if (!open) {
        std::optional<std::string> client = client_of(request);
        if (!client) {
          throw no_key(kNeedsKey);
        }
        request.client = *std::move(client);
      }
      handle(request, reply);
    });
  };
}

Service::Handle Service::on_worker(Handle handle) {
  return [this, handle = std::make_shared<const Handle>(std::move(handle))](http::Request& request,
                                                                            const Reply& reply) {
    const size_t bytes = request.body.size();
    workers_.start(bytes, reply,
                   [handle, reply, request = std::make_shared<http::Request>(std::move(request))] {
                     (*handle)(*request, reply);
                   });
  };
}

void Service::begin(const WriteRequest& request, size_t choices, const Asker& asker,
                    const Reply& reply, std::function<void(const Beginning&)> then) {
  if (request.save && !request.save->name.empty() && choices > 1) {
    throw ApiError::bad_field(
        "save_state.name",
        fmt::format("a name is for one state, and {} answers are asked for", choices));
  }
  begin_at({options_.desk, &workers_, asker.body_bytes}, engine_.model(), request.state, "state",
           request.save, asker.client, reply, std::move(then));
}

std::optional<std::string> Service::client_of(const http::Request& request) const {
  if (options_.api_keys.empty()) return client_of_peer(request.peer);
  const std::string* holder = options_.api_keys.holder(key_of(request, options_.api_keys));
  if (holder == nullptr) return {};
  return client_of_holder(*holder);
}

void Service::health(const http::Request&, const Reply& reply) {
  send_json(*reply, {{"status", "ok"}});
}

void Service::description(const http::Request&, const Reply& reply) {
  reply->send(200, kJsonType, description_);
}

void Service::metrics(const http::Request&, const Reply& reply) {
  std::optional<DeskStats> states;
  if (options_.desk != nullptr) states = options_.desk->stats();
  reply->send(200, "text/plain; version=0.0.4",
              prometheus_text(scheduler_.stats(), states ? &*states : nullptr) +
                  keys_text(options_.api_keys) +
                  memory_text(*options_.budgets, *options_.http_load));
}

Json Service::model_card() const {
  return {{"id", options_.model_name},
          {"object", "model"},
          {"created", started_},
          {"owned_by", "anser"},
          {"max_model_len", options_.limits.max_prompt_tokens},
          {"kind", engine_.model().kind()},
          {"template", engine_.model().tells_stories() ? "story" : options_.form.name},
          {"fingerprint", fmt::format("{:016x}", engine_.model().fingerprint())},
          {"trace_tokens", trace_route_.most_tokens()}};
}

void Service::models(const http::Request&, const Reply& reply) {
  send_json(*reply, {{"object", "list"}, {"data", Json::array({model_card()})}});
}

void Service::model(const http::Request& request, const Reply& reply) {
  if (request.capture("id") != options_.model_name) {
    throw ApiError::not_found(fmt::format("there is no model '{}', only '{}'",
                                          cut_text(request.capture("id")), options_.model_name),
                              "model_not_found");
  }
  send_json(*reply, model_card());
}

void Service::completions(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  const Tokenizer& tokenizer = engine_.model().tokenizer();
  const auto wanted = std::make_shared<const CompletionRequest>(
      read_completion_request(Fields(body), options_.limits, tokenizer));
  begin(*wanted, wanted->prompts.size() * size_t(wanted->n), Asker::of(request), reply,
        [this, wanted, reply, counted = request.counted](const Beginning& beginning) {
          write_completions(*wanted, beginning, reply);
        });
}

void Service::write_completions(const CompletionRequest& wanted, const Beginning& beginning,
                                const Reply& reply) {
  const Tokenizer& tokenizer = engine_.model().tokenizer();
  check_prompts(wanted, beginning.state);
  GenerateOptions generation = wanted.generation;
  generation.constraint = constraint_of(wanted, engine_.model());
  check_stop_tokens(generation);
  MemoryBudget::Share room = room_for_details(wanted, wanted_details(wanted));
  const std::string begun(unfinished_end(beginning.state.text_end()));  // of a character
  std::vector<Order> orders;
  std::vector<std::unique_ptr<Choice>> choices;
  size_t prompt_tokens = 0;
  for (const Prompt& prompt : wanted.prompts) {
    prompt_tokens += prompt.tokens.size();
    const std::shared_ptr<PromptShown> shown = prompt_shown(wanted, prompt, begun, tokenizer);
    for (int i = 0; i < wanted.n; ++i) {
      Order order{beginning.state, prompt.tokens, generation, wanted.top_logprobs};
      order.origin = beginning.origin;
      order.client = beginning.client;
      // Each prompt's answers have the seeds that they would have if it came alone.
      order.generation.sampling.seed = answer_seed(wanted.generation.sampling.seed, uint64_t(i));
      // Where they are kept, once is enough for all answers.
      const bool describes = wanted.stream || i == 0;
      if (describes) order.prompt_logprobs = described_logprobs(wanted);
      order.token_ids = wanted.return_token_ids;
      if (i == 0) order.kept_bytes = shown->text.size() + shown->token_ids.size() * sizeof(Token);
      choices.push_back(completion_choice(int(choices.size()), shown, describes,
                                          shown_tokens(wanted, tokenizer)));
      orders.push_back(std::move(order));
    }
  }
  write(wanted, {"cmpl-", "text_completion", "text_completion", {}}, beginning, std::move(choices),
        reply, std::move(room))
      ->start(std::move(orders), prompt_tokens, wanted.prompts.size() * beginning.state.tokens());
}

MemoryBudget::Share Service::room_for_details(const WriteRequest& wanted, const KeptDetails& kept) {
  if (kept.bytes == 0) return nullptr;
  const char* const field = wanted.top_logprobs >= 0      ? "logprobs"
                            : wanted.prompt_logprobs >= 0 ? "prompt_logprobs"
                                                          : "return_token_ids";
  return room_for_logprobs(options_.budgets->logprobs, kept.tokens, kept.bytes, field);
}

void Service::chat(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  const auto wanted =
      std::make_shared<const ChatRequest>(read_chat_request(Fields(body), options_.limits));
  left_out_->add(wanted->left_out);
  begin(*wanted, size_t(wanted->n), Asker::of(request), reply,
        [this, wanted, reply, counted = request.counted](const Beginning& beginning) {
          write_chat(*wanted, beginning, reply);
        });
}

void Service::write_chat(const ChatRequest& wanted, const Beginning& beginning,
                         const Reply& reply) {
  const Model& model = engine_.model();
  const ChatOrder chat = chat_order(wanted, beginning, options_.form, options_.limits, model);
  MemoryBudget::Share room =
      room_for_details(wanted, wanted_details(wanted, chat.order.prompt.size()));
  const std::shared_ptr<PromptShown> shown = prompt_shown(wanted, chat.order.prompt);
  std::vector<Order> orders;
  std::vector<std::unique_ptr<Choice>> choices;
  for (int i = 0; i < wanted.n; ++i) {
    orders.push_back(chat.order);
    orders.back().generation.sampling.seed =
        answer_seed(wanted.generation.sampling.seed, uint64_t(i));
    orders.back().token_ids = wanted.return_token_ids;
    if (i == 0) orders.back().prompt_logprobs = wanted.prompt_logprobs;
    choices.push_back(chat_choice(i, chat.form, chat.opening, chat.prefill, chat.tools,
                                  i == 0 ? shown : nullptr, shown_tokens(wanted, model.tokenizer()),
                                  wanted.calls));
  }
  orders[0].kept_bytes += shown->token_ids.size() * sizeof(Token);
  if (wanted.save) orders[0].kept_bytes += chat.shown_bytes;  // once for all
  const ChoicesAnswer::More more = [shown, tokenizer = model.tokenizer()](JsonPieces& pieces) {
    add_prompt_fields(shown, tokenizer, pieces);
  };
  const auto writing =
      write(wanted, {"chatcmpl-", "chat.completion", "chat.completion.chunk", more}, beginning,
            std::move(choices), reply, std::move(room), chat.as_shown);
  writing->name_schema(schema_field(wanted));
  writing->start(std::move(orders), chat.order.prompt.size(), beginning.state.tokens());
}

std::shared_ptr<Writing> Service::write(const WriteRequest& wanted, const Names& names,
                                        const Beginning& beginning,
                                        std::vector<std::unique_ptr<Choice>> choices,
                                        const Reply& reply, MemoryBudget::Share room,
                                        Instead instead) {
  const Heading heading{new_id(names.id_prefix), options_.model_name, unix_seconds(), wanted.stream,
                        wanted.include_usage};
  auto answer = std::make_unique<ChoicesAnswer>(heading, names.object, names.chunk_object,
                                                std::move(choices), names.more);
  auto writing = std::make_shared<Writing>(
      std::move(answer), Delivery{wanted.stream, options_.stream_interval, &senders_}, reply,
      scheduler_);
  writing->hold(std::move(room));
  writing->name_schema(wanted.json_schema_path);
  if (wanted.save) {
    writing->save_states({options_.desk, beginning.id, *wanted.save, {}, std::move(instead)});
  }
  if (wanted.end_with_sentence) writing->end_with_sentences(engine_.model().tokenizer());
  return writing;
}

void Service::tokenize(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  reply->send(200, kJsonType, tokenized(engine_.model(), options_.form, options_.limits, body));
}

void Service::detokenize(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  send_json(*reply, detokenized(engine_.model().tokenizer(), options_.limits, body));
}

void Service::tokenizer_info(const http::Request&, const Reply& reply) {
  send_json(*reply, openai::tokenizer_info(engine_.model(), options_.form, options_.limits));
}

}  // namespace anser
