// test_gpu: gtest's own main, but where there is no device it says why, and that it tested nothing.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "cuda/runtime.h"

int main(int count, char** arguments) {
  constexpr int kSkipped = 77;  // as CMake's SKIP_RETURN_CODE has it
  testing::InitGoogleTest(&count, arguments);
  std::string why;
  const auto devices = anser::cuda::usable_devices(why);
  if (devices.empty()) {
    std::printf("skipped: %s\n", why.c_str());
    return kSkipped;
  }
  std::printf("on %s, compute capability %d.%d\n", devices.front().name.c_str(),
              devices.front().major, devices.front().minor);
  anser::cuda::select(devices.front().index);
  return RUN_ALL_TESTS();
}
