// Fields of OpenAI's API that would make another answer, and that nothing here can honour. They are
// refused by name, never dropped. docs/serving.md lists what becomes of each field.
#pragma once

#include "server/openai/fields.h"

namespace anser::openai {

// Each throws ApiError. Of all: sounds, searches of the web, moderation, and what another address
// takes in place of its own prompt, messages or input.
void refuse_completion_fields(const Fields& body);
void refuse_chat_fields(const Fields& body);
// Besides: work in the background, prompts that are kept on a server, conversations, several
// answers, the form that functions had before there were tools.
void refuse_response_fields(const Fields& body);

}  // namespace anser::openai
