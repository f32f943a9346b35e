#include "server/state_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>
#include <utility>

#include "anser/error.h"
#include "base/read_json.h"
#include "server/answering.h"
#include "server/openai/completion_request.h"
#include "server/openai/json_pieces.h"
#include "server/openai/state_object.h"
#include "server/orders.h"
#include "server/reading.h"
#include "server/response_routes.h"
#include "server/send_pieces.h"
#include "store/state_id.h"

namespace anser {

using namespace openai;

namespace {

constexpr char kBytesType[] = "application/octet-stream";

bool is_upload(const http::Request& request) {
  return http::media_type(request.headers["Content-Type"]) == kBytesType;
}

// A body may be left out where all of its fields may.
Json body_of(const http::Request& request) {
  return request.body.empty() ? Json::object() : parse_body(request.body);
}

// Of a state file, that is sent at a time.
constexpr size_t kContentPiece = 256 << 10;

// Of the query; empty: it is not given.
std::string one_parameter(const http::Request& request, const char* name) {
  std::vector<std::string> values = request.parameters(name);
  if (values.empty()) return {};
  if (values.size() == 1) return std::move(values[0]);
  throw ApiError::bad_field(name,
                            fmt::format("expected one in the query, found {}", values.size()));
}

// As OpenAI's lists have them.
PageOptions page_options(const http::Request& request) {
  PageOptions options;
  options.after = one_parameter(request, "after");
  if (const std::string limit = one_parameter(request, "limit"); !limit.empty()) {
    const auto [end, error] =
        std::from_chars(limit.data(), limit.data() + limit.size(), options.limit);
    if (error != std::errc() || end != limit.data() + limit.size() || options.limit < 1 ||
        options.limit > PageOptions::kMost) {
      throw ApiError::bad_field("limit", fmt::format("expected a number from 1 to {}, found {}",
                                                     PageOptions::kMost, limit.substr(0, 100)));
    }
  }
  const std::string order = one_parameter(request, "order");
  if (!order.empty() && order != "asc" && order != "desc") {
    throw ApiError::bad_field(
        "order",
        fmt::format("expected asc, the oldest first, or desc, found {}", order.substr(0, 100)));
  }
  options.newest_first = order == "desc";
  return options;
}

// Each state becomes text at once: as JSON in memory it takes many times as much.
void send_page(http::Reply& reply, const StatePage& page) {
  std::string text = R"({"object":"list","data":[)";
  for (const StateInfo& info : page.states) {
    if (text.back() != '[') text += ',';
    text += dumped(state_object(info));
  }
  const auto id = [&](size_t i) { return page.states.empty() ? Json() : Json(page.states[i].id); };
  text += fmt::format(R"(],"first_id":{},"last_id":{},"has_more":{}}})", id(0).dump(),
                      id(page.states.size() - 1).dump(), page.more);
  reply.send(200, kJsonType, text);
}

// Those of JSON stand in it.
void refuse_query_labels(const http::Request& request) {
  for (const char* name : {"name", "tag", "note", "parent"}) {
    if (!request.parameter(name)) continue;
    throw ApiError::bad_field(name,
                              "in the query it is for a state file (Content-Type: "
                              "application/octet-stream); beside JSON it stands in the body");
  }
}

// The labels of an upload stand in the query.
StateLabels query_labels(const http::Request& request) {
  Json labels = {{"name", one_parameter(request, "name")}, {"tags", request.parameters("tag")}};
  if (const std::string note = one_parameter(request, "note"); !note.empty()) {
    std::optional<Json> value = find_json<Json>(note);
    if (!value) {
      throw ApiError::bad_field(
          "note", fmt::format("expected JSON, nested at most {} deep", JsonLimits().depth));
    }
    labels["note"] = *std::move(value);
  }
  return read_labels(labels);
}

// A state is made of one thing: of two, one would be dropped.
void check_one_source(const Fields& fields) {
  const char* first = nullptr;
  for (const char* name : {"messages", "response", "prompt"}) {
    if (fields.any(name) == nullptr) continue;
    if (first != nullptr)
      fields.fail(name, fmt::format("expected one of it and {}, found both", first));
    first = name;
  }
  if (fields.any("response") != nullptr && fields.any("state") != nullptr) {
    fields.fail("state", "a response is forked as it is; expected one of it and response");
  }
}

}  // namespace

StateRoutes::StateRoutes(const Model& model, Scheduler& scheduler, StateDesk* desk,
                         Workers& workers, openai::Limits limits, ChatTemplate form)
    : model_(model),
      scheduler_(scheduler),
      desk_(desk),
      workers_(workers),
      limits_(std::move(limits)),
      form_(std::move(form)) {}

Route StateRoutes::route(const char* method, const char* path, Operation operation, Member member,
                         Takes takes) {
  return {method, path, std::move(operation),
          [this, member, takes](http::Request& request, const Reply& reply) {
            if (desk_ == nullptr) fail_without_states("");
            const auto asked = std::make_shared<Asked>();
            asked->body_bytes = request.body.size();
            if (takes == Takes::json || (takes == Takes::upload && !is_upload(request))) {
              asked->body = body_of(request);
              request.body = {};
            }
            asked->request = std::move(request);
            desk_->later(reply, [this, member, asked, reply] { (this->*member)(asked, reply); });
          }};
}

std::vector<Route> StateRoutes::routes() {
  static constexpr char kTag[] = "states";
  const std::vector<Content> state = {{kJsonType, "State"}}, labels = {{kJsonType, "Labels"}};
  const std::vector<Content> request = {{kJsonType, "StateRequest"}, {kBytesType, "Bytes"}};
  const std::vector<const char*> id = {"stateId"};
  const std::vector<int> looks = {404, 429}, changes = {404, 409, 429, 507};
  return {
      route("GET", "/v1/states",
            {"listStates",
             kTag,
             "The stored states, a page at a time",
             {"tag", "parentIs", "limit", "after", "order"},
             {},
             {{kJsonType, "StateList"}},
             looks},
            &StateRoutes::list),
      route("POST", "/v1/states",
            {"createState",
             kTag,
             "A state of what has been read, of a response, or of a file",
             {"fileName", "fileTag", "fileNote", "fileParent"},
             request,
             state,
             changes},
            &StateRoutes::create, Takes::upload),
      route("GET", "/v1/states/{id}",
            {"getState", kTag, "What is known of a state", id, {}, state, looks},
            &StateRoutes::show),
      route("PATCH", "/v1/states/{id}",
            {"changeLabels", kTag, "New labels of a state", id, labels, state, changes, true},
            &StateRoutes::relabel, Takes::json),
      route("POST", "/v1/states/{id}",
            {"postLabels", kTag, "The same as PATCH", id, labels, state, changes, true},
            &StateRoutes::relabel, Takes::json),
      route(
          "DELETE", "/v1/states/{id}",
          {"deleteState", kTag, "A state is removed", id, {}, {{kJsonType, "StateDeleted"}}, looks},
          &StateRoutes::remove),
      route("GET", "/v1/states/{id}/content",
            {"getStateFile", kTag, "The state file", id, {}, {{kBytesType, "Bytes"}}, looks},
            &StateRoutes::content),
      route("POST", "/v1/states/{id}/fork",
            {"forkState", kTag, "Another id for the same state", id, labels, state, changes, true},
            &StateRoutes::fork, Takes::json)};
}

void StateRoutes::list(const std::shared_ptr<const Asked>& asked, const Reply& reply) {
  StateFilter filter;
  filter.tag = one_parameter(asked->request, "tag");
  filter.parent = one_parameter(asked->request, "parent");
  if (const auto parent = desk_->states().find(filter.parent)) filter.parent = parent->id;
  PageOptions options = page_options(asked->request);
  if (!options.after.empty()) options.after = desk_->find(options.after, "after").id;
  send_page(*reply, desk_->states().page(filter, options));
}

void StateRoutes::show(const std::shared_ptr<const Asked>& asked, const Reply& reply) {
  send_json(*reply, state_object(desk_->find(asked->request.capture("id"), "id")));
}

void StateRoutes::relabel(const std::shared_ptr<const Asked>& asked, const Reply& reply) {
  const StateInfo info = desk_->find(asked->request.capture("id"), "id");
  const StateLabels labels = read_labels(asked->body, info.labels);
  desk_->check_labels(labels, info);
  desk_->states().relabel(info.id, labels);
  send_json(*reply, state_object(desk_->find(info.id, "id")));
}

void StateRoutes::remove(const std::shared_ptr<const Asked>& asked, const Reply& reply) {
  const StateInfo info = desk_->find(asked->request.capture("id"), "id");
  desk_->states().remove(info.id);
  send_json(*reply, {{"id", info.id}, {"object", "state.deleted"}, {"deleted", true}});
}

void StateRoutes::content(const std::shared_ptr<const Asked>& asked, const Reply& reply) {
  const StateInfo info = desk_->find(asked->request.capture("id"), "id");
  const http::Headers name = {
      {"Content-Disposition", fmt::format("attachment; filename=\"{}.state\"", info.id)}};
  constexpr uint64_t kInPieces = ContentReader::kMemory + 2 * kContentPiece;
  // What takes no more than its decoder would is sent whole.
  if (info.raw_bytes <= kInPieces) {
    return reply->send(200, kBytesType, desk_->whole_content(info), name);
  }
  if (!reply->reserve(kInPieces)) {
    throw ApiError::unavailable("too many states are being downloaded; try again later");
  }
  const std::shared_ptr<ContentReader> content = desk_->content(info);
  reply->begin(200, kBytesType, name, content->size());
  send_pieces(
      reply, [content] { return content->next(kContentPiece); }, desk_->errands());
}

void StateRoutes::fork(const std::shared_ptr<const Asked>& asked, const Reply& reply) {
  const StateInfo info = desk_->find(asked->request.capture("id"), "id");
  const StateLabels labels = read_labels(asked->body);
  send_json(*reply, state_object(desk_->fork(info, labels)));
}

void StateRoutes::upload(const std::shared_ptr<const Asked>& asked, const Reply& reply) {
  const StateLabels labels = query_labels(asked->request);
  desk_->check_labels(labels);
  std::string parent = one_parameter(asked->request, "parent");
  if (!parent.empty() && !is_state_id(parent)) parent = desk_->find(parent, "parent").id;
  constexpr char kBody[] = "the state in the body";
  const State state = model_.read_state(std::as_bytes(std::span(asked->request.body)), kBody);
  desk_->note_unknown(state, kBody);
  send_json(*reply, state_object(desk_->save(state, parent, labels)));
}

void StateRoutes::create(const std::shared_ptr<const Asked>& asked, const Reply& reply) {
  if (is_upload(asked->request)) return upload(asked, reply);
  refuse_query_labels(asked->request);
  const Fields fields(asked->body);
  check_one_source(fields);
  const StateLabels labels = read_labels(asked->body);
  desk_->check_labels(labels);
  if (const auto response = fields.text("response")) {
    const StateInfo info = find_response(*desk_, *response, "response");
    return send_json(*reply, state_object(desk_->fork(info, labels)));
  }
  Beginning begin{model_.initial_state(), {}, {}};
  if (const auto state = fields.text("state")) begin = desk_->load(*state, "state");
  begin.client = asked->request.client;
  workers_.go_on(asked->body_bytes, reply, [this, asked, begin = std::move(begin), labels, reply] {
    read(asked->body, begin, labels, reply);
  });
}

void StateRoutes::read(const Json& body, const Beginning& begin, const StateLabels& labels,
                       const Reply& reply) {
  Order order{begin.state, tokens_to_read(body, begin)};
  order.origin = begin.origin;
  order.client = begin.client;
  read_prompt(
      scheduler_, std::move(order), reply,
      [desk = desk_, reply, parent = begin.id, labels](const State& state) {
        send_json(*reply, state_object(desk->save(state, parent, labels)));
      },
      *desk_);
}

std::vector<Token> StateRoutes::tokens_to_read(const Json& body, const Beginning& beginning) const {
  const Fields fields(body);
  check_one_source(fields);
  const Tokenizer& tokenizer = model_.tokenizer();
  if (fields.any("messages") != nullptr) {
    return message_tokens(read_chat_request(fields, limits_), form_, beginning.state, limits_,
                          model_);
  }
  if (fields.any("prompt") == nullptr) {
    throw ApiError(400, "invalid_request_error",
                   "expected one of prompt, messages and response, or a state file or a tuned "
                   "initial state with Content-Type: application/octet-stream",
                   "prompt");
  }
  const CompletionRequest wanted = read_completion_request(fields, limits_, tokenizer);
  if (wanted.prompts.size() != 1 || wanted.prompts[0].tokens.empty()) {
    fields.fail("prompt", "expected one text, or one list of tokens, that is not empty");
  }
  return wanted.prompts[0].tokens;
}

}  // namespace anser
