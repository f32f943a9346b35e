// What tests may change about the emulated device.
#pragma once

#include <cstddef>

namespace anser::cuda::emulator {

extern size_t memory_limit;  // bytes
extern size_t memory_used;

}  // namespace anser::cuda::emulator
