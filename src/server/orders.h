// From requests to what the scheduler is told to write.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anser/model.h"
#include "anser/scheduler.h"
#include "server/openai/answer_stream.h"
#include "server/openai/chat_request.h"
#include "server/state_desk.h"
#include "text/chat/chat_template.h"

namespace anser {

// Where the schema stands that a chat's answer is held to, for errors.
std::string schema_field(const openai::ChatRequest& request);

// What the text must be, if the request says so. Throws ApiError for a schema that cannot be kept.
std::shared_ptr<const Constraint> constraint_of(const openai::WriteRequest& request,
                                                const Model& model);

// Throws ApiError for a stop token without which the constraint could not be kept to.
void check_stop_tokens(const GenerateOptions& generation);

// For a request whose tool_choice obliges: a call of one of the tools that it allows. Throws
// ApiError, which names the parameters that cannot be kept to.
std::shared_ptr<const Constraint> call_constraint(const openai::ChatRequest& request,
                                                  const Model& model);

// What a model reads of a request's messages with no answer begun, on top of `begin`, which may
// have read nothing. `form`: of conversations without tools.
std::vector<Token> message_tokens(const openai::ChatRequest& request, const ChatTemplate& form,
                                  const State& begin, const openai::Limits& limits,
                                  const Model& model);

struct ChatOrder {
  Order order;
  ChatTemplate form;                // of this conversation: that of tools may be another
  std::string opening;              // of the answer, where AnswerStream begins
  openai::Prefill prefill;          // that it goes on with, where the last message is continued
  std::vector<openai::Tool> tools;  // that may be called
  // For Saving: answers are remembered as the next prompt would show them, without their thoughts,
  // as the model is trained, and calls in their one form; but a thought that was cut off may go on.
  // The model must be alive.
  std::function<std::optional<Order>(const std::string& text, StopReason)> as_shown;
  size_t shown_bytes = 0;  // that this keeps
};
// What /v1/chat/completions reads of a request. `begins`: as a text from its beginning, also where
// the form does not say so. Throws ApiError.
std::vector<Token> chat_tokens(const openai::ChatRequest& request, const ChatTemplate& form,
                               bool begins, int64_t most, const Model& model);

// `form`: of conversations without tools. Throws ApiError.
ChatOrder chat_order(openai::ChatRequest wanted, const Beginning& beginning,
                     const ChatTemplate& form, const openai::Limits& limits, const Model& model);

}  // namespace anser
