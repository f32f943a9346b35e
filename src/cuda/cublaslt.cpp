#include "cuda/cublaslt.h"

#include <dlfcn.h>

#include <memory>
#include <string>

namespace anser::cuda {
namespace {

void* open_library() {
  const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  for (const std::string folder :
       {"", "/usr/local/cuda/lib64/", "/usr/local/cuda/targets/x86_64-linux/lib/",
        "/usr/local/cuda/targets/sbsa-linux/lib/"}) {
    if (void* library = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

std::unique_ptr<const CublasLt> load() {
  void* library = open_library();  // stays open
  if (library == nullptr) return nullptr;
  auto found = std::make_unique<CublasLt>();
  bool all = true;
  const auto look_up = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    all = all && function != nullptr;
  };
  look_up(found->create, "cublasLtCreate");
  look_up(found->destroy, "cublasLtDestroy");
  look_up(found->status_string, "cublasLtGetStatusString");
  look_up(found->matmul, "cublasLtMatmul");
  look_up(found->heuristic, "cublasLtMatmulAlgoGetHeuristic");
  look_up(found->desc_create, "cublasLtMatmulDescCreate");
  look_up(found->desc_destroy, "cublasLtMatmulDescDestroy");
  look_up(found->desc_set, "cublasLtMatmulDescSetAttribute");
  look_up(found->layout_create, "cublasLtMatrixLayoutCreate");
  look_up(found->layout_destroy, "cublasLtMatrixLayoutDestroy");
  look_up(found->preference_create, "cublasLtMatmulPreferenceCreate");
  look_up(found->preference_destroy, "cublasLtMatmulPreferenceDestroy");
  look_up(found->preference_set, "cublasLtMatmulPreferenceSetAttribute");
  return all ? std::move(found) : nullptr;
}

}  // namespace

const CublasLt* cublaslt() {
  static const std::unique_ptr<const CublasLt> library = load();
  return library.get();
}

}  // namespace anser::cuda
