// Bytes linked into the program (CMakeLists.txt: anser_blob). Either may be empty.
#pragma once

#include <cstddef>
#include <span>

namespace anser {

std::span<const std::byte> blob_default_model();     // models/default.gguf
std::span<const std::byte> blob_world_vocabulary();  // rwkv_vocab_v20230424.txt

}  // namespace anser
