// A prompt that is only read: what comes out is a state.
#pragma once

#include <functional>
#include <memory>

#include "anser/scheduler.h"
#include "server/http/reply.h"
#include "server/state_desk.h"

namespace anser {

// Reads order.prompt and runs `then` with the state as an errand of the desk's; what that throws,
// and what fails before, answers the request. A client that goes away ends it.
// Throws ApiError when the scheduler's queue is full, and Error for a bad order.
void read_prompt(Scheduler& scheduler, Order order, std::shared_ptr<http::Reply> reply,
                 std::function<void(const State&)> then, StateDesk& desk);

}  // namespace anser
