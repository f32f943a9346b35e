// Which devices can be used: what is the same on a real device and on the emulated one.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "cuda/runtime.h"

namespace anser::cuda {

std::vector<DeviceInfo> usable_devices(std::string& why) {
  std::vector<DeviceInfo> found = devices(why);
  if (found.empty()) return found;
  const auto too_old = [](const DeviceInfo& d) { return d.major * 10 + d.minor < 75; };
  const DeviceInfo first = found.front();
  found.erase(std::remove_if(found.begin(), found.end(), too_old), found.end());
  if (found.empty()) {
    why = fmt::format(
        "{} has compute capability {}.{}, and the kernels need 7.5 (Turing, 2018) or newer",
        first.name, first.major, first.minor);
  }
  return found;
}

bool plain_launches() {
  static const char* const value = std::getenv("ANSER_CUDA_PLAIN");
  return value != nullptr && *value == '1';
}

}  // namespace anser::cuda
