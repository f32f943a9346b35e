// The server: what each address does with a request. HTTP's threads receive and send bytes; workers
// parse, tokenise and hand over; the scheduler's thread writes, and owns the engine.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anser/engine.h"
#include "anser/scheduler.h"
#include "server/api_keys.h"
#include "server/errands.h"
#include "server/http/options.h"
#include "server/http/router.h"
#include "server/left_out_log.h"
#include "server/memory_budget.h"
#include "server/openai/choices_answer.h"
#include "server/openai/write_request.h"
#include "server/openai/writing.h"
#include "server/response_routes.h"
#include "server/route.h"
#include "server/state_desk.h"
#include "server/state_routes.h"
#include "server/trace_route.h"
#include "server/workers.h"
#include "text/chat/builtin_templates.h"

namespace anser {

namespace openai {
struct ChatRequest;
struct CompletionRequest;
struct KeptDetails;
}  // namespace openai

struct ServiceOptions {
  // Who may use it: "Authorization: Bearer KEY" or "x-api-key: KEY" must name one of them. Empty:
  // everybody.
  ApiKeys api_keys;
  std::string model_name;                        // as /v1/models has it
  ChatTemplate form = builtin_template("chat");  // of conversations; of no matter to story models
  openai::Limits limits;
  StateDesk* desk = nullptr;                      // nullptr: no states are kept
  std::chrono::milliseconds stream_interval{20};  // openai::Delivery
  std::shared_ptr<MemoryBudgets> budgets = std::make_shared<MemoryBudgets>();
  // Of the server's http::Options, for /metrics.
  std::shared_ptr<const http::Load> http_load = std::make_shared<http::Load>();
  Workers::OnFault on_fault = {};
  LeftOutLog::Notice notice = {};  // gets sentences for the server's log, from any thread
};

//   GET  /                  the page, and /page/... (page/page.h); needs no key
//   GET  /openapi.json      all of these as a program reads them (openapi.h); needs no key
//   GET  /health            {"status": "ok"}; needs no key
//   GET  /metrics           Prometheus' text format
//   GET  /v1/models         and /v1/models/{id}
//   POST /v1/completions    and /v1/chat/completions
//   /v1/responses...      response_routes.h
//   /v1/states...         state_routes.h
//   POST /v1/trace          trace_route.h
//   POST /tokenize          and /detokenize: tokenizing.h
//   GET  /tokenizer_info    the same
class Service {
 public:
  // The engine, the scheduler and the desk must outlive every request.
  Service(Engine& engine, Scheduler& scheduler, ServiceOptions options);
  // Waits for the workers and for the desk's errands. To be called when no more requests come.
  ~Service();

  http::Router routes();
  // For http::Options::error_body.
  static http::ErrorBody error_body(int status, const std::string& message);

 private:
  using Reply = std::shared_ptr<http::Reply>;
  // All addresses, each with its description.
  std::vector<Route> table();
  // Of addresses that need a key.
  std::optional<http::Refusal> refusal(const http::Request& header) const;
  // Answers with JSON what an ApiError says.
  using Handle = std::function<void(http::Request&, const Reply&)>;
  http::Handler guarded(Handle handle, bool open);
  // The same handle, called by a worker.
  Handle on_worker(Handle handle);
  // Of the request: who asks, and how large it is.
  struct Asker {
    std::string client;
    size_t body_bytes;
    static Asker of(const http::Request& request) { return {request.client, request.body.size()}; }
  };
  // Hands over where the text shall begin, which a thread of the desk's finds out if that takes
  // time.
  void begin(const openai::WriteRequest& request, size_t choices, const Asker& asker,
             const Reply& reply, std::function<void(const Beginning&)> then);
  void write_completions(const openai::CompletionRequest& wanted, const Beginning& beginning,
                         const Reply& reply);
  void write_chat(const openai::ChatRequest& wanted, const Beginning& beginning,
                  const Reply& reply);
  struct Names {
    const char *id_prefix, *object, *chunk_object;
    openai::ChoicesAnswer::More more;
  };
  std::shared_ptr<openai::Writing> write(const openai::WriteRequest& wanted, const Names& names,
                                         const Beginning& beginning,
                                         std::vector<std::unique_ptr<openai::Choice>> choices,
                                         const Reply& reply, MemoryBudget::Share room,
                                         openai::Instead instead = {});
  // Until a whole answer is sent. Throws ApiError where there is none.
  MemoryBudget::Share room_for_details(const openai::WriteRequest& wanted,
                                       const openai::KeptDetails& kept);
  // Who asks; nothing: somebody who may not.
  std::optional<std::string> client_of(const http::Request& request) const;

  void health(const http::Request& request, const Reply& reply);
  void description(const http::Request& request, const Reply& reply);
  void metrics(const http::Request& request, const Reply& reply);
  void models(const http::Request& request, const Reply& reply);
  void model(const http::Request& request, const Reply& reply);
  void completions(const http::Request& request, const Reply& reply);
  void chat(const http::Request& request, const Reply& reply);
  void tokenize(const http::Request& request, const Reply& reply);
  void detokenize(const http::Request& request, const Reply& reply);
  void tokenizer_info(const http::Request& request, const Reply& reply);

  openai::Json model_card() const;

  Engine& engine_;
  Scheduler& scheduler_;
  const ServiceOptions options_;
  const std::shared_ptr<LeftOutLog> left_out_;
  Workers workers_;
  StateRoutes state_routes_;
  ResponseRoutes response_routes_;
  TraceRoute trace_route_;
  const int64_t started_;  // Unix seconds
  // What /openapi.json sends.
  std::string description_;
  Errands senders_;  // of large bodies; the last, so that it ends first
};

}  // namespace anser
