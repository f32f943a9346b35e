// Built-in forms for programs that apply a Jinja template from the model's file. anser itself only
// looks for the marks of the roles in it (choose_template.h).
#pragma once

#include "text/chat/chat_template.h"

namespace anser {

// The flower's for forms that have tools in markdown, else that of `chat`. Thoughts of past turns
// are left out.
const char* jinja_template(const ChatTemplate& form);

}  // namespace anser
