// What a call passes to its function.
#pragma once

#include <string_view>

#include "server/openai/api_error.h"

namespace anser::openai {

// An object, where `written` is one, or JSON of one in a string, even in a string of a string:
// models write all of these. Line ends and tabs that stand in such a string as they are, which JSON
// would have escaped once more, do not matter. Null and an empty string are an object with nothing
// in it; all else stays as it is.
Json call_arguments(const Json& written);

}  // namespace anser::openai
