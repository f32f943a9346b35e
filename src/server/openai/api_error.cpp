#include "server/openai/api_error.h"

namespace anser::openai {

std::string ApiError::body() const {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  const Json error = {{"error",
                       {{"message", what()},
                        {"type", type_},
                        {"param", or_null(param_)},
                        {"code", or_null(code_)}}}};
  // What a client sent may be quoted, and need not be UTF-8.
  return error.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace anser::openai
