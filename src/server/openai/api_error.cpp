#include "server/openai/api_error.h"

namespace anser::openai {

std::string ApiError::body() const {
  // Characters that are escaped take more bytes than they have.
  for (size_t characters = kMostErrorBytes;; characters /= 2) {
    std::string text = body(characters);
    if (text.size() <= kMostErrorBytes || characters == 0) return text;
  }
}

std::string ApiError::body(size_t characters) const {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  const Json error = {{"error",
                       {{"message", cut_text(what(), characters)},
                        {"type", type_},
                        {"param", or_null(cut_text(param_, characters))},
                        {"code", or_null(code_)}}}};
  // What a client sent may be quoted, and need not be UTF-8.
  return error.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace anser::openai
