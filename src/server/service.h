// The server: what each address does with a request. HTTP's threads read, tokenise and hand over;
// the scheduler's thread writes, and owns the engine.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "anser/engine.h"
#include "anser/scheduler.h"
#include "server/http/options.h"
#include "server/http/router.h"
#include "server/openai/write_request.h"
#include "text/chat_templates.h"

namespace anser {

struct ServiceOptions {
  // Who may use it: "Authorization: Bearer KEY" must name one of them. Empty: everybody.
  std::vector<std::string> api_keys;
  std::string model_name;                   // as /v1/models has it
  Template chat_template = Template::chat;  // of an answer where nothing is said of reasoning
  openai::Limits limits;
};

//   GET  /                  the page, and /page/... (page/page.h); needs no key
//   GET  /health            {"status": "ok"}; needs no key
//   GET  /metrics           Prometheus' text format
//   GET  /v1/models         and /v1/models/{id}
//   POST /v1/completions    and /v1/chat/completions
//   POST /tokenize          {"content"} -> {"tokens"}
//   POST /detokenize        {"tokens"} -> {"content"}
class Service {
 public:
  // All three must outlive every request.
  Service(Engine& engine, Scheduler& scheduler, ServiceOptions options);

  http::Router routes();
  // For http::Options::error_body.
  static http::ErrorBody error_body(int status, const std::string& message);

 private:
  using Reply = std::shared_ptr<http::Reply>;
  // Answers with JSON what an ApiError says.
  http::Handler guarded(void (Service::*handler)(const http::Request&, const Reply&), bool open);
  bool may_enter(const http::Request& request) const;

  void health(const http::Request& request, const Reply& reply);
  void metrics(const http::Request& request, const Reply& reply);
  void models(const http::Request& request, const Reply& reply);
  void model(const http::Request& request, const Reply& reply);
  void completions(const http::Request& request, const Reply& reply);
  void chat(const http::Request& request, const Reply& reply);
  void tokenize(const http::Request& request, const Reply& reply);
  void detokenize(const http::Request& request, const Reply& reply);

  openai::Json model_card() const;

  Engine& engine_;
  Scheduler& scheduler_;
  const ServiceOptions options_;
  const int64_t started_;  // Unix seconds
};

}  // namespace anser
