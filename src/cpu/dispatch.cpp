#include "cpu/dispatch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <string_view>

#include "anser/error.h"
#include "base/cpu_features.h"

namespace anser {
namespace {

struct Candidate {
  const Kernels* kernels;
  bool supported;
};

// Best first. The tables listed are those that CMakeLists.txt builds for this architecture.
std::vector<Candidate> candidates() {
  std::vector<Candidate> list;
#if defined(__x86_64__)
  const CpuFeatures cpu = detect_cpu_features();
  list.push_back({&kAvx512VnniKernels, cpu.avx512_vnni});
  list.push_back({&kAvx512Kernels, cpu.avx512_f_bw_dq_vl});
  list.push_back({&kAvx2Kernels, cpu.avx2_fma_f16c});
#elif defined(__aarch64__)
  const CpuFeatures cpu = detect_cpu_features();
  list.push_back({&kI8mmKernels, cpu.i8mm});
  list.push_back({&kDotprodKernels, cpu.dotprod});
  list.push_back({&kNeonKernels, true});
#endif
  list.push_back({&kBaselineKernels, true});
  return list;
}

}  // namespace

std::vector<const Kernels*> supported_kernels() {
  std::vector<const Kernels*> tables;
  for (const Candidate& candidate : candidates()) {
    if (candidate.supported) tables.push_back(candidate.kernels);
  }
  return tables;
}

std::vector<std::string> built_kernels() {
  std::vector<std::string> names;
  for (const Candidate& candidate : candidates()) names.push_back(candidate.kernels->name);
  return names;
}

const Kernels& choose_kernels() {
  const std::vector<const Kernels*> tables = supported_kernels();
  const char* wanted = std::getenv("ANSER_ISA");
  if (wanted == nullptr || *wanted == '\0') return *tables.front();

  std::vector<std::string_view> names;
  for (const Kernels* table : tables) {
    if (std::string_view(table->name) == wanted) return *table;
    names.push_back(table->name);
  }
  for (const std::string& name : built_kernels()) {
    if (name == wanted) {
      throw Error(
          fmt::format("ANSER_ISA={}: this machine cannot run these kernels; it can run {}. Unset "
                      "ANSER_ISA for the best of them.",
                      wanted, fmt::join(names, ", ")));
    }
  }
  throw Error(fmt::format(
      "ANSER_ISA={}: no kernels of this name; expected one of {}. Unset ANSER_ISA for the best.",
      wanted, fmt::join(names, ", ")));
}

}  // namespace anser
