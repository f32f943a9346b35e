#include "cuda/cublaslt.h"

#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace anser::cuda {
namespace {

// First where the loader looks, LD_LIBRARY_PATH included, then where toolkits are.
void* open_library() {
  const std::string major = std::to_string(CUBLAS_VER_MAJOR), name = "libcublasLt.so." + major;
  std::vector<std::string> folders = {""};
  std::vector<std::string> toolkits = {"/usr/local/cuda", "/usr/local/cuda-" + major};
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* toolkit = std::getenv(variable)) toolkits.insert(toolkits.begin(), toolkit);
  }
  for (const std::string& toolkit : toolkits) {
    for (const char* folder :
         {"/lib64/", "/targets/x86_64-linux/lib/", "/targets/sbsa-linux/lib/"}) {
      folders.push_back(toolkit + folder);
    }
  }
  for (const std::string& folder : folders) {
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
