#include "cli/bench_table.h"

#include <fmt/format.h>

#include <cmath>

#include <nlohmann/json.hpp>

#include "cli/numbers.h"

namespace anser {
namespace {

using Json = nlohmann::ordered_json;

std::string phase_table(const Json& batch) {
  std::string out = fmt::format("\nphases of a step, batch {}\n", batch["batch"].get<int>());
  if (batch.contains("error")) return out + batch["error"].get<std::string>() + "\n";
  out += fmt::format("{:<10} {:>6} {:>14} {:>10} {:>10} {:>10} {:>14}\n", "", "times",
                     "microseconds", "MB", "GB/s", "GFLOP/s", "of the limit");
  double total = 0;
  for (const Json& row : batch["rows"]) {
    const auto number = [&](const char* key) { return row[key].get<double>(); };
    total += number("times") * number("us");
    out += fmt::format("{:<10} {:>6} {:>14.2f} {:>10.3f} {:>10} {:>10} {:>12.1f} %\n",
                       row["phase"].get<std::string>(), row["times"].get<int>(), number("us"),
                       number("mb"), format_rate(number("gb_s")), format_rate(number("gflop_s")),
                       100 * number("fraction"));
  }
  return out + fmt::format("{:<10} {:>6} {:>14.2f}\n", "all", "", total);
}

std::string rate_or_none(const Json& rate) {
  return rate.is_null() || std::isnan(rate.get<double>()) ? "-" : format_rate(rate.get<double>());
}

}  // namespace

std::string bench_table(const nlohmann::ordered_json& result) {
  const auto number = [](const Json& value) { return value.get<double>(); };
  std::string out = fmt::format(
      "{} {}, {} threads, {}\n"
      "memory {} GB/s, {} {} GFLOP/s, int8 {} GOP/s, int4 {}; loaded in {:.2f} s, at most {} MB "
      "used\n"
      "{}\n"
      "{:<17} {:>10} {:>10} {:>22}\n",
      result["model"].get<std::string>(), result["type"].get<std::string>(),
      result["threads"].get<int>(), result["isa"].get<std::string>(),
      rate_or_none(result["stream_gb_s"]), result["peak_type"].get<std::string>(),
      rate_or_none(result["peak_gflop_s"]), rate_or_none(result["peak_int8_gop_s"]),
      rate_or_none(result["peak_int4_gop_s"]), number(result["load_s"]),
      result["peak_rss_mb"].get<int64_t>(),
      result["zero_share"].is_null()
          ? ""
          : fmt::format("{:.0f} % of the channel mix's activations are zero and skipped in steps "
                        "of few rows\n",
                        100 * number(result["zero_share"])),
      "", "tok/s", "GB/s", "of this machine");
  const auto failed = [&](const std::string& name, const Json& row) {
    if (!row.contains("error")) return false;
    out += fmt::format("{:<17} {}\n", name, row["error"].get<std::string>());
    return true;
  };
  for (const Json& row : result["prefill"]) {
    std::string name = fmt::format("prefill {}", row["tokens"].get<int>());
    if (row.contains("prompts")) name += fmt::format(" x {}", row["prompts"].get<int>());
    if (failed(name, row)) continue;
    out += fmt::format("{:<17} {:>10} {:>10} {:>12.1f} % of {}\n", name,
                       format_rate(number(row["tok_s"])), "", 100 * number(row["fraction"]),
                       row["of"].get<std::string>());
  }
  for (const Json& row : result["decode"]) {
    const std::string name = fmt::format("decode, batch {}", row["batch"].get<int>());
    if (failed(name, row)) continue;
    out += fmt::format("{:<17} {:>10} {:>10} {:>10.1f} % of memory\n", name,
                       format_rate(number(row["tok_s"])), format_rate(number(row["gb_s"])),
                       100 * number(row["fraction"]));
  }
  if (result.contains("phases")) {
    for (const Json& batch : result["phases"]) out += phase_table(batch);
  }
  return out;
}

}  // namespace anser
