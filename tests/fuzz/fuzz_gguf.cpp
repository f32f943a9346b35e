// The GGUF reader.
#include "check_tensor_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check_parser(anser::parse_gguf, data, size);
  return 0;
}
