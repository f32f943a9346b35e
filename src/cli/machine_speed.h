// What this machine can do at the most: the yardsticks of `anser bench` and of the statistics line.
#pragma once

#include <string>

namespace anser {

// Bytes per second that `threads` threads together read from memory, in GB/s (1e9). Every thread
// reads its own part of a buffer of `megabytes` in several streams; the median of `runs` passes
// counts. Takes some 0.1 s for the default.
double measure_stream_gb_s(int threads, int megabytes = 256, int runs = 7);

class Engine;

// What the engine's device can do. On the CPU: loops of independent operations on registers, no
// memory touched, in the instruction set that the kernels use (see choose_kernels). A multiply-add
// counts as two operations.
struct MachineSpeed {
  double stream_gb_s;
  double peak_gflop_s;    // fused multiply-adds in the widest vectors
  std::string peak_type;  // their type
  // Integers of 8 bits summed in 32, in GOP/s: the dot products of AVX-512 VNNI; on AVX2 and
  // AVX-512 those of 16 bits after widening; on aarch64 the matrix or the dot products of bytes. 0:
  // there are none.
  double peak_int8_gop_s;
  // The same for weights of 4 bits, which AVX2 can multiply twice as fast; elsewhere equal.
  double peak_int4_gop_s;
};
MachineSpeed measure_machine(const Engine& engine);

}  // namespace anser
