// /v1/states: stored states over HTTP. docs/serving.md lists fields and answers.
//
//   GET    /v1/states                 ?tag= &parent= &limit= &after= &order=
//   POST   /v1/states                 from a prompt, messages or a response; or an upload
//   GET    /v1/states/{id}            {id} is an id or a name
//   PATCH  /v1/states/{id}            (POST, too) new labels
//   DELETE /v1/states/{id}
//   GET    /v1/states/{id}/content    the state file
//   POST   /v1/states/{id}/fork
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "anser/model.h"
#include "anser/scheduler.h"
#include "server/http/reply.h"
#include "server/http/request.h"
#include "server/openai/write_request.h"
#include "server/route.h"
#include "server/state_desk.h"
#include "text/chat/chat_template.h"

namespace anser {

class StateRoutes {
 public:
  // All but the limits must outlive every request. Without a desk all routes answer that there are
  // no states.
  StateRoutes(const Model& model, Scheduler& scheduler, StateDesk* desk, Workers& workers,
              openai::Limits limits, ChatTemplate form);

  using Reply = std::shared_ptr<http::Reply>;
  std::vector<Route> routes();

  // Of a body with "prompt" or "messages", on top of a state. Throws ApiError.
  std::vector<Token> tokens_to_read(const openai::Json& body, const Beginning& beginning) const;

 private:
  // A request that needs the store, whose body a worker has read.
  struct Asked {
    http::Request request;  // without its body, unless that is a state
    openai::Json body;
    size_t body_bytes = 0;
  };
  // What a body may be: nothing that matters, JSON, or JSON or a state.
  enum class Takes { nothing, json, upload };
  using Member = void (StateRoutes::*)(const std::shared_ptr<const Asked>&, const Reply&);
  Route route(const char* method, const char* path, Operation operation, Member member,
              Takes takes = Takes::nothing);
  // All of these run as errands.
  void list(const std::shared_ptr<const Asked>& asked, const Reply& reply);
  void show(const std::shared_ptr<const Asked>& asked, const Reply& reply);
  void relabel(const std::shared_ptr<const Asked>& asked, const Reply& reply);
  void remove(const std::shared_ptr<const Asked>& asked, const Reply& reply);
  void content(const std::shared_ptr<const Asked>& asked, const Reply& reply);
  void fork(const std::shared_ptr<const Asked>& asked, const Reply& reply);
  void upload(const std::shared_ptr<const Asked>& asked, const Reply& reply);
  void create(const std::shared_ptr<const Asked>& asked, const Reply& reply);
  // A worker's part of create(): `begin` is loaded.
  void read(const openai::Json& body, const Beginning& begin, const StateLabels& labels,
            const Reply& reply);
  const Model& model_;
  Scheduler& scheduler_;
  StateDesk* const desk_;
  Workers& workers_;
  const openai::Limits limits_;
  const ChatTemplate form_;  // of "messages"
};

}  // namespace anser
