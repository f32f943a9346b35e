// Fields of a chat that say how its messages are written for the model, beside reasoning_effort:
// vLLM's.
#pragma once

#include "server/openai/chat_request.h"

namespace anser::openai {

// A last message of the role assistant that has words and no calls is continued, unless
// add_generation_prompt is true, continue_final_message false, or a call is demanded; one without
// words is begun anew. continue_final_message does the same with a message of any role, and
// add_generation_prompt false begins no answer. chat_template_kwargs: enable_thinking or thinking,
// and reasoning_effort; what else a template may know has no effect. `request` has been read but
// for these. Throws ApiError.
void read_chat_template_fields(const Fields& body, ChatRequest& request);

}  // namespace anser::openai
