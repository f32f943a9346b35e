#include "checkpoint/open_checkpoint.h"

#include <fmt/format.h>

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
  if (file.format == FileFormat::gguf) return file;
  if (find_tensor_names(file).hugging_face) {
    add_config_beside(path, file);
  } else if (is_usual_hf_file(path)) {
    file.notes.push_back(fmt::format(
        "{}: its tensors have original names, so the config.json beside it is not read; name the "
        "folder to follow it",
        path));
  }
  return file;
}

}  // namespace anser
