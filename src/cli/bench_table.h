// What `anser bench` prints for people.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace anser {

// `result`: what `anser bench --json` prints.
std::string bench_table(const nlohmann::ordered_json& result);

}  // namespace anser
