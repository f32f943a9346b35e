// Stored states in JSON, and the labels that requests give them.
#pragma once

#include "server/openai/fields.h"
#include "store/state_info.h"

namespace anser::openai {

// {"id", "object": "state", "created", "last_used", "name", "tags", "note", "parent", "tokens",
//  "model", "fingerprint", "bytes", "raw_bytes", "checksum"}
Json state_object(const StateInfo& info);

// name (a string), tags (a list of strings, or one), note (anything): those that `body` has take
// the place of those in `labels`; null takes one away. Throws ApiError.
StateLabels read_labels(const Json& body, StateLabels labels = {}, const std::string& path = {});

}  // namespace anser::openai
