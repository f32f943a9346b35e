// Products of many rows: cuBLASLt on a GPU, plain loops on the emulator.
#include <cmath>

#include "cuda/gemm.h"
#include "kernels_support.h"

namespace anser {
namespace {

using namespace cuda;

class GemmKernel : public KernelTest {};

TEST_F(GemmKernel, EveryTypeWayRoundAndFactor) {
  Gemm gemm;
  for (const Format type : {Format::f16, Format::bf16}) {
    for (const bool transposed : {false, true}) {
      for (const float beta : {0.0f, 1.0f}) {
        for (const int rows : {1, 17, 70}) {
          // Multiples of 8, as widths and padded lines are.
          const int inputs = 40, outputs = 24;
          const TestMatrix W = matrix({type}, outputs, inputs, transposed);
          std::vector<float> x = normals(size_t(rows) * inputs);
          const std::vector<float> y = normals(size_t(rows) * outputs);
          const DeviceArray<uint16_t> device_x = narrow(type, x, inputs, inputs + 8);
          // What beta = 0 must not read is poison.
          const auto device_y = beta == 0 ? poisoned(y.size()) : upload(y);
          gemm.multiply(stream_, {.W = W.device.codes,
                                  .transposed = transposed,
                                  .pitch = W.device.stride,
                                  .x = device_x.data(),
                                  .x_pitch = inputs + 8,
                                  .y = device_y.data(),
                                  .rows = rows,
                                  .inputs = inputs,
                                  .outputs = outputs,
                                  .type = type,
                                  .alpha = 4,
                                  .beta = beta});
          twins::Numbers expected = twins::scaled(twins::product(W.twin, twins::inputs(x)), 4);
          if (beta != 0) expected = twins::sum(expected, twins::inputs(y));
          // Tensor cores cut bits off where they add, rather than round: twice the error.
          for (twins::Number& number : expected) number.deviation *= 2;
          expect_twin(device_y.read(), expected,
                      std::to_string(rows) + " rows" + (transposed ? ", transposed" : ""));
        }
      }
    }
  }
}

}  // namespace
}  // namespace anser
