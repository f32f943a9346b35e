// The safetensors reader, and the recognition in front of it.
#include "check_tensor_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check_parser(anser::parse_safetensors, data, size);
  check_parser(anser::parse_tensor_bytes, data, size);
  return 0;
}
