// From requests to what the scheduler is told to write.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anser/model.h"
#include "anser/scheduler.h"
#include "server/openai/chat_request.h"
#include "server/state_desk.h"
#include "text/chat_templates.h"

namespace anser {

// What the text must be, if the request says so. Throws ApiError for a schema that cannot be kept.
std::shared_ptr<const Constraint> constraint_of(const openai::WriteRequest& request,
                                                const Model& model);

// For a request whose tool_choice obliges: a call of one of the tools that it allows. Throws
// ApiError, which names the parameters that cannot be kept to.
std::shared_ptr<const Constraint> call_constraint(const openai::ChatRequest& request,
                                                  const Model& model);

// A chat's prompt in tokens. A story that does not go on from a state begins as texts of this model
// do.
std::vector<Token> encode_chat(const Model& model, const std::string& text, bool goes_on);

struct ChatOrder {
  Order order;
  std::string opening;              // of the answer, where AnswerStream begins
  std::vector<openai::Tool> tools;  // that may be called
  // For Saving: answers are remembered as the next prompt would show them, without their thoughts,
  // as the model is trained, and calls in their one form; but a thought that was cut off may go on.
  // The model must be alive.
  std::function<std::optional<Order>(const std::string& text, StopReason)> as_shown;
};
// `usual`: the template of an answer where nothing is said of reasoning. Throws ApiError.
ChatOrder chat_order(openai::ChatRequest wanted, const Beginning& beginning, Template usual,
                     const openai::Limits& limits, const Model& model);

}  // namespace anser
