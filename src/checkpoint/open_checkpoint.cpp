#include "checkpoint/open_checkpoint.h"

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "checkpoint/tensor_names.h"
#include "formats/hf_folder.h"

namespace anser {

TensorFile open_checkpoint(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return open_hf_folder(path);
  if (std::optional<TensorFile> shards = open_hf_shards(path)) return std::move(*shards);
  TensorFile file = open_tensor_file(path);
  if (file.format != FileFormat::gguf && find_tensor_names(file).hugging_face) {
    add_config_beside(path, file);
  }
  return file;
}

}  // namespace anser
