// Matrix products of many rows. gemm.cpp is cuBLASLt; the emulator has plain loops.
#pragma once

#include <memory>

#include "cuda/device_matrix.h"
#include "cuda/runtime.h"

namespace anser::cuda {

// y = alpha x W' + beta y
struct Product {
  const void* W;  // [outputs][pitch], or transposed [inputs][pitch]
  bool transposed;
  int pitch;      // numbers from one line of W to the next
  const void* x;  // [rows][x_pitch]
  int x_pitch;
  float* y;  // [rows][outputs]
  int rows, inputs, outputs;
  Format type;  // of W and x: f16 or bf16; sums are taken in fp32
  float alpha = 1, beta = 0;
};

class Gemm {
 public:
  // Whether there is a library for it: cuBLASLt is part of the toolkit, not of the driver.
  static bool available();
  Gemm();
  ~Gemm();
  // The first product of a shape chooses an algorithm, and the first of its kind measures which is
  // fastest, so neither must be recorded.
  void multiply(Stream& stream, const Product& product);

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace anser::cuda
