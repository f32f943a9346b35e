// The settings beside an adapter, and the names of its tensors: anything but an Error is a bug, and
// what is accepted must give finite scales.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "anser/error.h"
#include "base/check.h"
#include "checkpoint/adapter_config.h"
#include "checkpoint/adapter_names.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const auto parse : {anser::parse_peft_config, anser::parse_miss_package}) {
    try {
      const anser::AdapterConfig config = parse(text, "fuzz");
      const double rank = config.rank_of("blocks.0.att.key");
      if (rank >= 1) ANSER_CHECK(std::isfinite(config.scale_of("blocks.0.att.key", rank)));
    } catch (const anser::Error&) {
    }
  }
  const anser::AdapterName name = anser::parse_adapter_name(text);
  ANSER_CHECK(name.module.size() <= text.size());
  return 0;
}
