// What tests may change about the emulated device.
#pragma once

#include <cstddef>

namespace anser::cuda::emulator {

extern int capability;       // 90 for 9.0; bf16 and tf32 tiles abort below 80
extern size_t memory_limit;  // bytes
extern size_t memory_used;
extern size_t downloaded;  // bytes that were copied to the host so far

}  // namespace anser::cuda::emulator
