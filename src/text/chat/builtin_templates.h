// The forms that RWKV-7 models were trained on.
//
//   chat, think, fake-think        User: {text}\n\nAssistant:       G1 up to G1g, and World
//   flower, flower-think           User✿{text}✿\nBot✿             G1h and newer
//   markdown, markdown-think       ### User\n{text}\n### Assistant  the same models, with tools
//
// Those of a line differ in what an answer is opened with where nothing is said of thinking.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/chat/chat_template.h"

namespace anser {

std::vector<std::string> builtin_template_names();

// Null for a name that there is not.
const ChatTemplate* find_builtin_template(std::string_view name);
// Throws Error that lists the names.
const ChatTemplate& builtin_template(std::string_view name);

// The form of a conversation with tools in it, where it is otherwise had in `form`.
ChatTemplate template_with_tools(const ChatTemplate& form);

}  // namespace anser
