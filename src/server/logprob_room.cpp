#include "server/logprob_room.h"

#include <fmt/format.h>

#include "server/openai/api_error.h"

namespace anser {

using openai::ApiError;

MemoryBudget::Share room_for_logprobs(MemoryBudget& budget, uint64_t tokens, uint64_t bytes,
                                      const char* field) {
  if (MemoryBudget::Share share = budget.take(bytes)) return share;
  if (bytes <= budget.most()) {
    throw ApiError::unavailable(fmt::format(
        "the logprobs of up to {} tokens take {} bytes until they are sent, and others' "
        "leave less of {} (--logprobs-mb); try again later, or ask for a stream",
        tokens, bytes, budget.most()));
  }
  throw ApiError::bad_field(
      field, fmt::format(
                 "those of up to {} tokens, echoed and written, take {} bytes until they are sent, "
                 "and this server has {} for all (--logprobs-mb): ask for fewer tokens or answers, "
                 "or for a stream",
                 tokens, bytes, budget.most()));
}

}  // namespace anser
