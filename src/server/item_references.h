// Items of earlier responses that a request names instead of sending them again, as agents do whose
// responses are kept.
#pragma once

#include "server/openai/response_request.h"
#include "server/state_desk.h"

namespace anser {

// Of all items that a request's references bring.
inline constexpr size_t kMostReferredBytes = size_t(16) << 20;

// Puts the items in the places that wait for them. Takes time: it reads the store. Throws ApiError,
// 404, for an item that is not there or no longer kept.
void resolve_references(openai::ResponseRequest& request, StateDesk& desk);

}  // namespace anser
