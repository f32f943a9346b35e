// What clients call the model. It is a part of an address, /v1/models/NAME, so nobody gives it a
// name under which no client could reach it.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// Throws Error that says what a name may be: "goose", "RWKV/goose".
void check_model_name(std::string_view name);

// The same as a question.
bool can_be_model_name(std::string_view name);

}  // namespace anser
