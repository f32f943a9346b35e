// What the scheduler counts, in Prometheus' text format.
#pragma once

#include <string>

#include "anser/scheduler.h"

namespace anser {

std::string prometheus_text(const SchedulerStats& stats);

}  // namespace anser
