// The words of a message, in the spellings of both APIs.
#pragma once

#include <optional>
#include <string>

#include "server/openai/fields.h"

namespace anser::openai {

// A string, or a list of parts that are texts or refusals; nothing when the field is absent. Throws
// ApiError, which names the part, for images, sounds and files: the model reads text.
std::optional<std::string> read_words(const Fields& message, const char* name);

}  // namespace anser::openai
