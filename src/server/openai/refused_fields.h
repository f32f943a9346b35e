// Fields of OpenAI's API that would make another answer, and that nothing here can honour. They are
// refused by name, never dropped. docs/serving.md lists what becomes of each field.
#pragma once

#include "server/openai/fields.h"

namespace anser::openai {

// Of any request: sounds, searches of the web, moderation. Throws ApiError.
void refuse_fields(const Fields& body);

// Of a response besides: work in the background, prompts that are kept on a server, conversations,
// several answers, the form that functions had before there were tools.
void refuse_response_fields(const Fields& body);

}  // namespace anser::openai
