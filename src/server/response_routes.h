// /v1/responses: answers that are kept with the state at their end, to go on from. docs/serving.md
// lists fields.
//
//   POST   /v1/responses
//   GET    /v1/responses/{id}
//   DELETE /v1/responses/{id}
//
// The response "resp_X" is the stored state X, whose tag is kResponseTag and whose note is what GET
// gives back.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "anser/scheduler.h"
#include "server/left_out_log.h"
#include "server/memory_budget.h"
#include "server/openai/response_request.h"
#include "server/route.h"
#include "server/state_desk.h"
#include "server/state_routes.h"
#include "text/chat/chat_template.h"

namespace anser {

class ResponseRoutes {
 public:
  struct Options {
    std::string model_name;
    ChatTemplate form;
    std::chrono::milliseconds stream_interval;  // openai::Delivery
    std::shared_ptr<LeftOutLog> left_out;
    std::shared_ptr<MemoryBudgets> budgets;
    Errands* senders;  // openai::Delivery
  };
  // The first four must outlive every request. Without a desk no response is kept.
  ResponseRoutes(const Model& model, Scheduler& scheduler, StateDesk* desk, Workers& workers,
                 openai::Limits limits, Options options);

  std::vector<Route> routes();

 private:
  using Reply = std::shared_ptr<http::Reply>;
  void create(const http::Request& request, const Reply& reply);
  void write(const openai::ResponseRequest& wanted, const Beginning& beginning, const Reply& reply);
  // Takes time, for an errand.
  Beginning beginning_of(const openai::ResponseRequest& wanted);
  void show(const std::string& id, const Reply& reply);
  void remove(const std::string& id, const Reply& reply);

  const Model& model_;
  Scheduler& scheduler_;
  StateDesk* const desk_;
  Workers& workers_;
  const openai::Limits limits_;
  const Options options_;
};

// The state of the response `id`. Throws ApiError, 404, where there is none.
StateInfo find_response(StateDesk& desk, const std::string& id, const std::string& param);

}  // namespace anser
