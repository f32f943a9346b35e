// The reader of torch.save's files: zip directory, pickle, storages.
#include "check_tensor_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check_parser(anser::parse_pth, data, size);
  return 0;
}
