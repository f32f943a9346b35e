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

// Adds the end-of-text token that texts of this model begin with, where they begin here.
void begin_text(const Model& model, std::vector<Token>& tokens);

struct ChatOrder {
  Order order;
  std::string opening;              // what the prompt has written of the answer
  std::vector<openai::Tool> tools;  // that may be called
  // For Saving: answers are remembered without their thoughts, as the model is trained, unless a
  // thought was cut off and may go on.
  std::function<std::optional<Order>(const std::string& text, StopReason)> without_thoughts;
};
// `usual`: the template of an answer where nothing is said of reasoning. Throws ApiError.
ChatOrder chat_order(openai::ChatRequest wanted, const Beginning& beginning, Template usual,
                     const openai::Limits& limits, const Model& model);

}  // namespace anser
