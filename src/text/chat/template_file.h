// Chat forms as files of JSON: docs/templates.md describes them.
#pragma once

#include <string>
#include <string_view>

#include "text/chat/chat_template.h"

namespace anser {

inline constexpr size_t kMaxTemplateBytes = 64 * 1024;

// Throws Error that begins with `source` and names the key: for one that is not known, is missing
// or holds something else than it should, and for a form with which turns could be forged or a
// saved conversation could not go on.
ChatTemplate parse_template(std::string_view json, const std::string& source);
ChatTemplate read_template_file(const std::string& path);

// The same form as such a file, every key in it.
std::string template_json(const ChatTemplate& form);

}  // namespace anser
