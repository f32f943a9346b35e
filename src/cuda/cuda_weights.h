// All weights of a model in device memory.
#pragma once

#include <vector>

#include "cuda/device_matrix.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include "model/weights.h"

namespace anser {

// The names of model/weights.h, so that visit_weights() goes over them in the same order.
struct CudaNorm {
  const float *weight = nullptr, *bias = nullptr;
};
struct CudaTimeMix {
  const float *x_r, *x_w, *x_k, *x_v, *x_a, *x_g;
  cuda::DeviceMatrix receptance, key, value, output;
  const float *w0, *a0, *v0;
  cuda::DeviceMatrix w1, a1, v1, g1, w2, a2, v2, g2;
  const float *k_k, *k_a, *r_k;
  CudaNorm ln_x;
};
struct CudaChannelMix {
  const float* x_k;
  cuda::DeviceMatrix key;
  cuda::DeviceMatrix value;  // transposed, so that lines whose h is zero need not be read
};
struct CudaLayer {
  CudaNorm ln1, ln2;
  CudaTimeMix att = {};
  CudaChannelMix ffn = {};
};

struct CudaWeights {
  // Uploads everything. Throws Error where the device has no room, before anything is copied.
  CudaWeights(const Weights& weights, const Hyperparameters& h, cuda::Stream& stream);

  cuda::DeviceMatrix emb;
  CudaNorm ln0;
  std::vector<CudaLayer> layers;
  CudaNorm ln_out;
  cuda::DeviceMatrix head;
  cuda::Buffer memory;
};

}  // namespace anser
