// Reads what a model's files say of its chat form.
#pragma once

#include "anser/chat_clues.h"
#include "anser/model.h"
#include "formats/tensor_file.h"

namespace anser {

inline constexpr const char* kChatTemplateKey = "tokenizer.chat_template";
inline constexpr const char* kNameKey = "general.name";

// Of the file's own metadata and, for a Hugging Face folder or a file in one, of
// chat_template.jinja and tokenizer_config.json. Files that cannot be read say nothing: a model is
// not refused for them.
ChatClues read_chat_clues(const TensorFile& file);

// The chat template to write into a file of `model`, for it to be chosen the same form: its own, or
// a built-in one where its name said it. Empty: none is needed.
std::string chat_template_to_write(const Model& model);

}  // namespace anser
