#include "server/service.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "anser/error.h"
#include "base/answer_seed.h"
#include "server/answering.h"
#include "server/client.h"
#include "server/metrics.h"
#include "server/openai/choices.h"
#include "server/openai/completion_request.h"
#include "server/openai/request_details.h"
#include "server/orders.h"
#include "server/page/page.h"
#include "server/tokenizing.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace anser {

using namespace openai;

namespace {

// One makes a piece of JSON much faster than a client takes it.
constexpr size_t kManySenders = 1024;

constexpr char kNeedsKey[] = "a valid API key is needed: Authorization: Bearer KEY";

// "" where there is none.
std::string_view key_of(const http::Request& request) {
  const std::string_view given = request.headers["Authorization"];
  constexpr std::string_view kBearer = "Bearer ";
  return given.starts_with(kBearer) ? given.substr(kBearer.size()) : std::string_view();
}

ApiError no_key(const std::string& message) {
  return ApiError(401, "authentication_error", message, {}, "invalid_api_key");
}

}  // namespace

Service::Service(Engine& engine, Scheduler& scheduler, ServiceOptions options)
    : engine_(engine),
      scheduler_(scheduler),
      options_(std::move(options)),
      workers_(options_.on_fault),
      state_routes_(engine.model(), scheduler, options_.desk, workers_, options_.limits,
                    options_.form),
      response_routes_(engine.model(), scheduler, options_.desk, workers_, options_.limits,
                       {options_.model_name, options_.form, options_.stream_interval}),
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
  if (options_.api_keys.empty() || !options_.api_keys.refuses(key_of(header))) return std::nullopt;
  return http::Refusal{401, kNeedsKey};
}

http::Router Service::routes() {
  http::Router router;
  const auto add = [&](const char* method, const char* path,
                       void (Service::*handle)(const http::Request&, const Reply&),
                       bool open = false) {
    router.add(method, path, guarded(std::bind_front(handle, this), open));
  };
  const auto add_work = [&](const char* path,
                            void (Service::*handle)(const http::Request&, const Reply&)) {
    router.add("POST", path, guarded(on_worker(std::bind_front(handle, this)), false));
  };
  add("GET", "/health", &Service::health, true);
  add("GET", "/metrics", &Service::metrics);
  add("GET", "/v1/models", &Service::models);
  add("GET", "/v1/models/{id}", &Service::model);
  add_work("/v1/completions", &Service::completions);
  add_work("/v1/chat/completions", &Service::chat);
  add("GET", "/tokenizer_info", &Service::tokenizer_info);
  add_work("/tokenize", &Service::tokenize);
  add_work("/detokenize", &Service::detokenize);
  const auto add_all = [&](const auto& routes) {
    for (const auto& route : routes) {
      router.add(route.method, route.path, guarded(on_worker(route.handle), false));
    }
  };
  add_all(state_routes_.routes());
  add_all(response_routes_.routes());
  router.add("POST", "/v1/trace",
             guarded(on_worker(std::bind_front(&TraceRoute::handle, &trace_route_)), false));
  add_page(router);
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
  const std::string* holder = options_.api_keys.holder(key_of(request));
  if (holder == nullptr) return {};
  return client_of_holder(*holder);
}

void Service::health(const http::Request&, const Reply& reply) {
  send_json(*reply, {{"status", "ok"}});
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
  MemoryBudget& budget = options_.budgets->logprobs;
  if (MemoryBudget::Share share = budget.take(kept.bytes)) return share;
  if (kept.bytes <= budget.most()) {
    throw ApiError::unavailable(fmt::format(
        "the logprobs of up to {} tokens take {} bytes until they are sent, and others' "
        "leave less of {} (--logprobs-mb); try again later, or ask for a stream",
        kept.tokens, kept.bytes, budget.most()));
  }
  const char* const field = wanted.top_logprobs >= 0      ? "logprobs"
                            : wanted.prompt_logprobs >= 0 ? "prompt_logprobs"
                                                          : "return_token_ids";
  throw ApiError::bad_field(
      field, fmt::format(
                 "those of up to {} tokens, echoed and written, take {} bytes until they are sent, "
                 "and this server has {} for all (--logprobs-mb): ask for fewer tokens or answers, "
                 "or for a stream",
                 kept.tokens, kept.bytes, budget.most()));
}

void Service::chat(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  const auto wanted =
      std::make_shared<const ChatRequest>(read_chat_request(Fields(body), options_.limits));
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
                                  i == 0 ? shown : nullptr,
                                  shown_tokens(wanted, model.tokenizer())));
  }
  orders[0].kept_bytes += shown->token_ids.size() * sizeof(Token);
  if (wanted.save) orders[0].kept_bytes += chat.shown_bytes;  // once for all
  const ChoicesAnswer::More more = [shown, tokenizer = model.tokenizer()](JsonPieces& pieces) {
    add_prompt_fields(shown, tokenizer, pieces);
  };
  write(wanted, {"chatcmpl-", "chat.completion", "chat.completion.chunk", more}, beginning,
        std::move(choices), reply, std::move(room), chat.as_shown)
      ->start(std::move(orders), chat.order.prompt.size(), beginning.state.tokens());
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
