// cuBLASLt's functions, looked up when the first product needs them: a program that is linked
// against the library would not start where there is only the driver.
#pragma once

#include <cublasLt.h>

namespace anser::cuda {

struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
};

// The library of the toolkit's version that this was built with: where the loader finds it
// (LD_LIBRARY_PATH), beside the program, or in the toolkit's usual folder. nullptr where it is in
// none of them. Thread-safe.
const CublasLt* cublaslt();

}  // namespace anser::cuda
