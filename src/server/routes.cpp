// The table of the server's addresses. Those of states and of responses are in state_routes.cpp and
// response_routes.cpp.
#include <functional>
#include <iterator>

#include "server/answering.h"
#include "server/page/page.h"
#include "server/service.h"

namespace anser {
namespace {

constexpr char kWriting[] = "text", kModels[] = "models", kServer[] = "server";

// Of what writes a text.
const std::vector<int> kWritingErrors = {404, 409, 429, 507};

std::vector<Content> json(const char* schema) {
  return {{kJsonType, schema}};
}

}  // namespace

std::vector<Route> Service::table() {
  const auto by = [this](auto member) { return std::bind_front(member, this); };
  const auto trace = std::bind_front(&TraceRoute::handle, &trace_route_);
  const std::vector<Content> metrics = {{"text/plain", "Text"}};
  const std::vector<Content> text = {{kJsonType, "Completion"}, {kEventsType, "Events"}};
  const std::vector<Content> chat = {{kJsonType, "ChatCompletion"}, {kEventsType, "Events"}};
  constexpr bool kAtOnce = false, kOpen = false;
  // Method and path; the operation: id, tag, summary, parameters, body, answers, errors; handler.
  // clang-format off
  std::vector<Route> table = {
      {"GET", "/health",
       {"getHealth", kServer, "Whether the server answers", {}, {}, json("Health"), {}},
       by(&Service::health), kAtOnce, kOpen},
      {"GET", "/metrics",
       {"getMetrics", kServer, "Counters, in Prometheus' text format", {}, {}, metrics, {}},
       by(&Service::metrics), kAtOnce},
      {"GET", "/openapi.json",
       {"getDescription", kServer, "This description", {}, {}, json("Object"), {}},
       by(&Service::description), kAtOnce, kOpen},
      {"GET", "/v1/models",
       {"listModels", kModels, "The one model", {}, {}, json("ModelList"), {}},
       by(&Service::models), kAtOnce},
      {"GET", "/v1/models/{id...}",
       {"getModel", kModels, "The one model, by its name", {"modelId"}, {}, json("Model"), {404}},
       by(&Service::model), kAtOnce},
      {"POST", "/v1/completions",
       {"createCompletion", kWriting, "A text that goes on from a prompt", {},
        json("CompletionRequest"), text, kWritingErrors},
       by(&Service::completions)},
      {"POST", "/v1/chat/completions",
       {"createChatCompletion", kWriting, "The next message of a conversation", {},
        json("ChatRequest"), chat, kWritingErrors},
       by(&Service::chat)},
      {"POST", "/tokenize",
       {"tokenize", kModels, "The tokens of a text", {},
        json("TokenizeRequest"), json("Tokens"), {429}},
       by(&Service::tokenize)},
      {"POST", "/detokenize",
       {"detokenize", kModels, "The text of tokens", {},
        json("DetokenizeRequest"), json("TokensText"), {429}},
       by(&Service::detokenize)},
      {"GET", "/tokenizer_info",
       {"getTokenizerInfo", kModels, "What evaluation harnesses need to know of the vocabulary", {},
        {}, json("TokenizerInfo"), {}},
       by(&Service::tokenizer_info), kAtOnce},
      {"POST", "/v1/trace",
       {"createTrace", kModels, "What each token of a text does to the state", {},
        json("TraceRequest"), json("Trace"), {404, 429}},
       trace}};
  // clang-format on
  const auto add = [&](std::vector<Route> routes) {
    std::move(routes.begin(), routes.end(), std::back_inserter(table));
  };
  add(state_routes_.routes());
  add(response_routes_.routes());
  add(page_routes());
  return table;
}

}  // namespace anser
