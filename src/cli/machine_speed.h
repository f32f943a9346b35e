// What this machine can do at the most: the yardsticks of `anser bench` and of the statistics line.
#pragma once

#include <string>

namespace anser {

// Bytes per second that `threads` threads together read from memory, in GB/s (1e9). Every thread
// reads its own part of a buffer of `megabytes` in several streams; the median of `runs` passes
// counts. Takes some 0.1 s for the default.
double measure_stream_gb_s(int threads, int megabytes = 256, int runs = 7);

// fp32 operations per second of all threads together, in GFLOP/s, a fused multiply-add counting as
// two: loops of independent multiply-adds on registers in the widest vectors of this machine
// (AVX-512, AVX2+FMA, else what the compiler's baseline has). No memory is touched.
double measure_peak_gflop_s(int threads, int runs = 5);

// Operations per second on integers of 8 bits summed in 32, in GOP/s, a multiply-add counting as
// two: the dot products of AVX-512 VNNI, on AVX2 those of 16 bits after widening, on aarch64 the
// matrix or the dot products of bytes: what quantised weights are multiplied with there. 0 where
// there is none of them.
double measure_peak_int8_gop_s(int threads, int runs = 5);

class Engine;

// What the engine's device can do.
struct MachineSpeed {
  double stream_gb_s;
  double peak_gflop_s;
  std::string peak_type;   // of the operations of peak_gflop_s
  double peak_int8_gop_s;  // 0: none
};
MachineSpeed measure_machine(const Engine& engine);

}  // namespace anser
