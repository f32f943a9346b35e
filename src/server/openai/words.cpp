#include "server/openai/words.h"

#include <fmt/format.h>

namespace anser::openai {
namespace {

std::string words_of_part(const Fields& part) {
  const std::string type = part.required_text("type");
  if (type == "refusal") return part.required_text("refusal");
  if (type != "text" && type != "input_text" && type != "output_text") {
    part.fail("type", "only parts of text can be read: the model knows no others");
  }
  return part.required_text("text");
}

}  // namespace

std::optional<std::string> read_words(const Fields& message, const char* name) {
  const Json* content = message.any(name);
  if (content == nullptr) return std::nullopt;
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) {
    message.fail(
        name, fmt::format("expected a string or a list of parts, found {}", content->type_name()));
  }
  std::string text;
  for (size_t i = 0; i < content->size(); ++i) {
    text += words_of_part(Fields((*content)[i], fmt::format("{}[{}]", message.path(name), i)));
  }
  return text;
}

}  // namespace anser::openai
