// What the scheduler and the desk count, in Prometheus' text format.
#pragma once

#include <string>

#include "anser/scheduler.h"
#include "server/state_desk.h"

namespace anser {

// `states`: nullptr where none are kept.
std::string prometheus_text(const SchedulerStats& stats, const DeskStats* states);

}  // namespace anser
