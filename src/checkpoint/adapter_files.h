// The files of an adapter: what a user names -> its tensors, and its settings where it has some.
#pragma once

#include <optional>
#include <string>

#include "checkpoint/adapter_config.h"
#include "formats/tensor_file.h"

namespace anser {

struct AdapterFiles {
  std::string path;  // of the tensors
  TensorFile tensors;
  // adapter_config.json, or the adapter.json or miss.json of a package.
  std::optional<AdapterConfig> config;
};

// `given`: a file, a folder, or the settings themselves. Throws Error when there is no adapter, or
// its settings are not understood.
AdapterFiles open_adapter_files(const std::string& given);

// What a PiSSA training began with has this name, beside the tensors that came of it.
inline constexpr const char* kPissaStart = "init_pissa.pth";
std::optional<std::string> find_pissa_start(const std::string& tensors);

}  // namespace anser
