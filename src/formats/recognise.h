// Which format bytes are in, told from the bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "formats/tensor_file.h"

namespace anser {

// safetensors, pth or gguf. Throws Error that names what the file is instead, where it can be told,
// and what to do.
FileFormat recognise_format(std::span<const std::byte> bytes, const std::string& path);

}  // namespace anser
