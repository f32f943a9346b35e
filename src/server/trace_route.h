// POST /v1/trace: what each token of a text does to the state (anser/state_trace.h).
//
//   {"prompt": text or tokens, or "messages": [...], "state": id or name}
//   -> {"object": "trace", "tokens": [{"id", "text"}], "layers": L, "heads": H,
//       "kept": [token][layer][head], "erased", "written"}
//
// The text is read as a prompt is, from the state if there is one, in the scheduler's pieces beside
// whatever else is being written. Nothing is kept of it. Only on the CPU; at most most_tokens(), so
// that an answer stays below some ten megabytes.
#pragma once

#include <memory>

#include "anser/engine.h"
#include "anser/scheduler.h"
#include "server/errands.h"
#include "server/http/reply.h"
#include "server/http/request.h"
#include "server/state_desk.h"
#include "server/state_routes.h"

namespace anser {

class TraceRoute {
 public:
  // All must outlive every request. No desk: no request may name a state.
  TraceRoute(const Engine& engine, Scheduler& scheduler, StateDesk* desk, Workers& workers,
             const StateRoutes& states);

  // 0: this engine traces nothing.
  int most_tokens() const { return most_tokens_; }

  using Reply = std::shared_ptr<http::Reply>;
  // Throws what answering() takes.
  void handle(const http::Request& request, const Reply& reply);

 private:
  void submit(const openai::Json& body, const Beginning& beginning, const Reply& reply);

  const Model& model_;
  Scheduler& scheduler_;
  StateDesk* const desk_;
  Workers& workers_;
  const StateRoutes& states_;
  const int most_tokens_;
  // Where answers are put together, which takes too long for the scheduler's thread. Its readers
  // share it, as they may outlive this.
  const std::shared_ptr<Errands> errands_;
};

}  // namespace anser
