#include "server/response_routes.h"

#include <fmt/format.h>

#include <utility>

#include "base/read_json.h"
#include "server/answering.h"
#include "server/item_references.h"
#include "server/logprob_room.h"
#include "server/openai/response_answer.h"
#include "server/orders.h"
#include "store/state_id.h"

namespace anser {

using namespace openai;

namespace {

constexpr std::string_view kPrefix = "resp_";

// What stands behind the prefix; an id that nothing has if it is no response's.
std::string state_of(std::string_view id) {
  return std::string(id.starts_with(kPrefix) ? id.substr(kPrefix.size()) : "");
}

}  // namespace

StateInfo find_response(StateDesk& desk, const std::string& id, const std::string& param) {
  const std::string state = state_of(id);
  std::optional<StateInfo> info;
  if (is_state_id(state)) info = desk.states().find(state);
  if (!info) {
    throw ApiError(404, "invalid_request_error",
                   fmt::format("there is no response '{}': it was not stored, or is no longer kept",
                               cut_text(id)),
                   param, "response_not_found");
  }
  return *std::move(info);
}

ResponseRoutes::ResponseRoutes(const Model& model, Scheduler& scheduler, StateDesk* desk,
                               Workers& workers, Limits limits, Options options)
    : model_(model),
      scheduler_(scheduler),
      desk_(desk),
      workers_(workers),
      limits_(std::move(limits)),
      options_(std::move(options)) {}

std::vector<Route> ResponseRoutes::routes() {
  const auto about_one = [this](void (ResponseRoutes::*member)(const std::string&, const Reply&)) {
    return [this, member](const http::Request& request, const Reply& reply) {
      if (desk_ == nullptr) fail_without_states("");
      desk_->later(
          reply, [this, member, id = request.capture("id"), reply] { (this->*member)(id, reply); });
    };
  };
  static constexpr char kTag[] = "responses";
  return {{"POST",
           "/v1/responses",
           {"createResponse",
            kTag,
            "A text that is kept to go on from",
            {},
            {{kJsonType, "ResponseRequest"}},
            {{kJsonType, "Response"}, {kEventsType, "Events"}},
            {404, 409, 429, 507}},
           std::bind_front(&ResponseRoutes::create, this)},
          {"GET",
           "/v1/responses/{id}",
           {"getResponse",
            kTag,
            "A response that has been kept",
            {"responseId"},
            {},
            {{kJsonType, "Response"}},
            {404, 429}},
           about_one(&ResponseRoutes::show)},
          {"DELETE",
           "/v1/responses/{id}",
           {"deleteResponse",
            kTag,
            "A response is removed, and its state",
            {"responseId"},
            {},
            {{kJsonType, "ResponseDeleted"}},
            {404, 429}},
           about_one(&ResponseRoutes::remove)}};
}

void ResponseRoutes::create(const http::Request& request, const Reply& reply) {
  const Json body = parse_body(request.body);
  ResponseRequest wanted = read_response_request(Fields(body), limits_);
  options_.left_out->add(wanted.left_out);
  const size_t bytes = request.body.size();
  const bool goes_on = !wanted.previous.empty() || !wanted.state.empty();
  if (desk_ == nullptr) {
    if (goes_on) fail_without_states(wanted.state.empty() ? "previous_response_id" : "state");
    if (wanted.store && wanted.store_said) fail_without_states("store");
    if (wanted.save) fail_without_states("save_state");
    if (!wanted.references.empty()) fail_without_states(wanted.references[0].path);
    wanted.store = false;
  }
  if (wanted.store && desk_->errands().busy()) throw ApiError::busy(kManyStates);
  const bool looks_first =
      goes_on || (wanted.save && !wanted.save->name.empty()) || !wanted.references.empty();
  const std::string client = request.client;
  if (!looks_first) return write(wanted, {model_.initial_state(), {}, {}, client}, reply);
  desk_->later(reply, [this, kept = std::make_shared<ResponseRequest>(std::move(wanted)), bytes,
                       client, counted = request.counted, reply] {
    resolve_references(*kept, *desk_);
    const auto beginning = std::make_shared<Beginning>(beginning_of(*kept));
    beginning->client = client;
    workers_.go_on(bytes, reply,
                   [this, kept, beginning, counted, reply] { write(*kept, *beginning, reply); });
  });
}

Beginning ResponseRoutes::beginning_of(const ResponseRequest& wanted) {
  if (wanted.save) desk_->check_labels(*wanted.save, {}, "save_state.name");
  if (!wanted.state.empty()) return desk_->load(wanted.state, "state");
  if (wanted.previous.empty()) return {model_.initial_state(), {}, {}};
  const StateInfo previous = find_response(*desk_, wanted.previous, "previous_response_id");
  return desk_->load(previous.id, "previous_response_id");
}

void ResponseRoutes::write(const ResponseRequest& wanted, const Beginning& beginning,
                           const Reply& reply) {
  MemoryBudget::Share room;
  if (wanted.top_logprobs >= 0) {
    const uint64_t tokens = uint64_t(wanted.generation.max_tokens);
    room =
        room_for_logprobs(options_.budgets->logprobs, tokens,
                          LogprobList::bytes_of(tokens, wanted.top_logprobs), "max_output_tokens");
  }
  ChatOrder chat = chat_order(wanted, beginning, options_.form, limits_, model_);
  const std::string state = new_state_id();
  const size_t prompt_tokens = chat.order.prompt.size();
  auto answer = std::make_unique<ResponseAnswer>(
      ResponseAnswer::Heading{std::string(kPrefix) + state, options_.model_name, unix_seconds(),
                              wanted.store},
      wanted, chat.form, chat.opening, std::move(chat.tools), model_.tokenizer());
  chat.order.kept_bytes += answer->kept_bytes();
  const auto writing = std::make_shared<Writing>(
      std::move(answer), Delivery{wanted.stream, options_.stream_interval, options_.senders}, reply,
      scheduler_);
  writing->hold(std::move(room));
  writing->name_schema(schema_field(wanted));
  if (wanted.store) {
    chat.order.kept_bytes += chat.shown_bytes;
    StateLabels labels = wanted.save.value_or(StateLabels());
    labels.tags.push_back(kResponseTag);
    writing->save_states({desk_, beginning.id, std::move(labels), state, chat.as_shown});
  }
  if (wanted.end_with_sentence) writing->end_with_sentences(model_.tokenizer());
  std::vector<Order> orders;
  orders.push_back(std::move(chat.order));
  writing->start(std::move(orders), prompt_tokens, beginning.state.tokens());
}

void ResponseRoutes::show(const std::string& id, const Reply& reply) {
  const StateInfo info = find_response(*desk_, id, "id");
  Json note = find_json<Json>(info.labels.note).value_or(nullptr);
  if (!note.is_object() || !note.contains("id") || note["id"] != id) {
    throw ApiError::not_found(
        fmt::format("the note of the state {} is no longer the response '{}'", info.id, id),
        "response_not_found");
  }
  note["state"] = info.id;
  send_json(*reply, note);
}

void ResponseRoutes::remove(const std::string& id, const Reply& reply) {
  desk_->states().remove(find_response(*desk_, id, "id").id);
  send_json(*reply, {{"id", id}, {"object", "response"}, {"deleted", true}});
}

}  // namespace anser
