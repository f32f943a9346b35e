// What a client is told of a store's failure.
#pragma once

#include "server/openai/api_error.h"
#include "store/store_errors.h"

namespace anser {

// The status says whose fault it is; the message names no folder, file or address.
openai::ApiError api_error_of(const StoreError& error);

// Whether it is for the server's log: whoever keeps the server may have to do something.
bool is_for_the_log(const StoreError& error);

}  // namespace anser
