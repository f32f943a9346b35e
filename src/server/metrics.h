// What the scheduler and the desk count, in Prometheus' text format.
#pragma once

#include <string>

#include "anser/scheduler.h"
#include "server/api_keys.h"
#include "server/http/load.h"
#include "server/memory_budget.h"
#include "server/state_desk.h"

namespace anser {

// `states`: nullptr where none are kept.
std::string prometheus_text(const SchedulerStats& stats, const DeskStats* states);

// Requests of each key's holder, by name. Nothing where there are no keys.
std::string keys_text(const ApiKeys& keys);
// What requests and answers hold in memory, and what was refused for want of it.
std::string memory_text(const MemoryBudgets& budgets, const http::Load& load);

}  // namespace anser
