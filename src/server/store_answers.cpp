#include "server/store_answers.h"

namespace anser {

using openai::ApiError;

ApiError api_error_of(const StoreError& error) {
  if (dynamic_cast<const UnknownState*>(&error) != nullptr) {
    return {404, "invalid_request_error", error.told(), {}, "state_not_found"};
  }
  if (dynamic_cast<const NameTaken*>(&error) != nullptr) {
    return {409, "invalid_request_error", error.told(), "name", "name_taken"};
  }
  if (dynamic_cast<const StatesUnavailable*>(&error) != nullptr) {
    return {503, "server_error", error.told(), {}, "states_unavailable"};
  }
  if (dynamic_cast<const StoreFull*>(&error) != nullptr) {
    return {507, "server_error", error.told(), {}, "store_full"};
  }
  return {500, "server_error", error.told(), {}, "store_failed"};
}

bool is_for_the_log(const StoreError& error) {
  return api_error_of(error).status() >= 500;
}

}  // namespace anser
