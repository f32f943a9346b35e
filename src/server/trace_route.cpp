#include "server/trace_route.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "server/answering.h"
#include "server/openai/fields.h"
#include "server/openai/writing.h"

namespace anser {

using namespace openai;

namespace {

constexpr int kMostTokens = 2048;
constexpr int kMostNumbers = 1 << 21;
constexpr size_t kManyErrands = 16;

int most_tokens_of(const Engine& engine) {
  if (engine.device() != Device::cpu) return 0;
  const Hyperparameters& h = engine.model().hyperparameters();
  return std::min(kMostTokens, std::max(1, kMostNumbers / (3 * h.layers * h.heads)));
}

// [token][layer][head], three digits behind the point.
void append_numbers(std::string& to, const StateTrace& trace, const std::vector<float>& numbers) {
  const size_t heads = size_t(trace.heads), token = heads * size_t(trace.layers);
  if (numbers.empty()) {  // of a text without tokens
    to += "[]";
    return;
  }
  to += '[';
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0) to += i % token == 0 ? "]],[[" : i % heads == 0 ? "],[" : ",";
    if (i == 0) to += "[[";
    fmt::format_to(std::back_inserter(to), "{:.3f}", numbers[i]);
  }
  to += "]]]";
}

std::string answer_text(const Tokenizer& tokenizer, const std::vector<Token>& tokens,
                        const StateTrace& trace) {
  Json list = Json::array();
  for (const Token token : tokens) {
    // A part of a character becomes U+FFFD when it is dumped.
    list.push_back({{"id", token}, {"text", std::string(tokenizer.bytes_of(token))}});
  }
  std::string answer =
      fmt::format(R"({{"object":"trace","layers":{},"heads":{},"tokens":{})", trace.layers,
                  trace.heads, list.dump(-1, ' ', false, Json::error_handler_t::replace));
  for (const auto& [name, numbers] :
       {std::pair{"kept", &trace.kept}, std::pair{"erased", &trace.erased},
        std::pair{"written", &trace.written}}) {
    answer += fmt::format(",\"{}\":", name);
    append_numbers(answer, trace, *numbers);
  }
  return answer + "}";
}

class TraceReader final : public Reader {
 public:
  TraceReader(std::shared_ptr<http::Reply> reply, std::vector<Token> tokens, Tokenizer tokenizer,
              std::shared_ptr<Errands> errands)
      : reply_(std::move(reply)),
        tokens_(std::move(tokens)),
        tokenizer_(std::move(tokenizer)),
        errands_(std::move(errands)) {}

  bool on_text(std::string_view, std::vector<TokenDetails>) override { return true; }

  void on_end(Finished finished) override {
    if (reply_->closed()) return;
    if (!finished.error.empty()) return send_error(*reply_, error_of(finished));
    if (finished.reason == StopReason::cancelled) {
      return send_error(*reply_, ApiError::unavailable("the server is ending; ask again"));
    }
    errands_->add([reply = reply_, tokens = std::move(tokens_), tokenizer = tokenizer_,
                   trace = std::move(finished.trace)] {
      try {
        reply->send(200, kJsonType, answer_text(tokenizer, tokens, trace));
      } catch (const std::exception&) {
        reply->error(500, kInternalError);
      }
    });
  }

 private:
  const std::shared_ptr<http::Reply> reply_;
  std::vector<Token> tokens_;
  const Tokenizer tokenizer_;
  const std::shared_ptr<Errands> errands_;
};

}  // namespace

TraceRoute::TraceRoute(const Engine& engine, Scheduler& scheduler, StateDesk* desk,
                       Workers& workers, const StateRoutes& states)
    : model_(engine.model()),
      scheduler_(scheduler),
      desk_(desk),
      workers_(workers),
      states_(states),
      most_tokens_(most_tokens_of(engine)),
      errands_(std::make_shared<Errands>(1, kManyErrands)) {}

void TraceRoute::handle(const http::Request& request, const Reply& reply) {
  if (most_tokens_ == 0) {
    throw ApiError(400, "invalid_request_error",
                   "what tokens do to a state can be traced on the CPU only, and this server's "
                   "model is on a GPU: start one with --device cpu",
                   {}, "no_traces");
  }
  if (errands_->busy()) throw ApiError::busy("too many traces are asked for; try again later");
  const auto body = std::make_shared<const Json>(parse_body(request.body));
  const std::string state = Fields(*body).text("state").value_or("");
  begin_at({desk_, &workers_, request.body.size()}, model_, state, "state", std::nullopt,
           request.client, reply,
           [this, body, reply, counted = request.counted](const Beginning& beginning) {
             submit(*body, beginning, reply);
           });
}

void TraceRoute::submit(const Json& body, const Beginning& beginning, const Reply& reply) {
  std::vector<Token> tokens = states_.tokens_to_read(body, beginning);
  if (int(tokens.size()) > most_tokens_) {
    throw ApiError::bad_field(body.contains("messages") ? "messages" : "prompt",
                              fmt::format("a trace of this model is of at most {} tokens, found {}",
                                          most_tokens_, tokens.size()));
  }
  Order order{beginning.state, tokens};
  order.generation.max_tokens = 0;
  order.trace = true;
  order.client = beginning.client;
  const Scheduler::Id id = scheduler_.submit(
      std::move(order),
      std::make_shared<TraceReader>(reply, std::move(tokens), model_.tokenizer(), errands_));
  if (id == 0) throw ApiError::busy("too many requests are waiting; try again later");
  reply->on_close([&scheduler = scheduler_, id] { scheduler.cancel(id); });
}

}  // namespace anser
