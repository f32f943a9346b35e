// What tests may change about the emulated device.
#pragma once

#include <cstddef>

namespace anser::cuda::emulator {

extern size_t memory_limit;  // bytes
extern size_t memory_used;
extern size_t downloaded;  // bytes that were copied to the host so far

}  // namespace anser::cuda::emulator
