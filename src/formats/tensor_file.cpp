#include "formats/tensor_file.h"

#include <filesystem>
#include <system_error>

#include "base/check.h"
#include "formats/checks.h"
#include "formats/gguf_split.h"
#include "formats/hf_folder.h"
#include "formats/recognise.h"

namespace anser {

std::string FileTensor::type_name() const {
  return unsupported_type.empty() ? dtype_name(type) : unsupported_type;
}

int64_t FileTensor::elements() const {
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

bool FileTensor::contiguous() const {
  ANSER_CHECK(strides.size() == shape.size());
  if (elements() == 0) return true;
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    // The stride of a dimension of one is never used, and PyTorch writes anything there.
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::string FileTensor::shape_text() const {
  return anser::shape_text(shape);
}

const char* file_format_name(FileFormat format) {
  switch (format) {
    case FileFormat::safetensors:
      return "safetensors";
    case FileFormat::pth:
      return "pth";
    case FileFormat::gguf:
      return "GGUF";
    case FileFormat::hf_folder:
      return "Hugging Face folder";
    case FileFormat::memory:
      return "memory";
  }
  ANSER_CHECK(false);
}

const FileTensor* TensorFile::find(std::string_view name) const {
  for (const FileTensor& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

TensorFile parse_tensor_bytes(std::span<const std::byte> bytes, const std::string& path) {
  switch (recognise_format(bytes, path)) {
    case FileFormat::pth:
      return parse_pth(bytes, path);
    case FileFormat::gguf:
      return parse_gguf(bytes, path);
    default:
      return parse_safetensors(bytes, path);
  }
}

TensorFile open_tensor_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return open_hf_folder(path);
  auto mapped = MappedFile::open(path);
  TensorFile file = parse_tensor_bytes(mapped->bytes(), path);
  file.files.push_back(std::move(mapped));
  if (is_split_gguf(file)) return join_split_gguf(std::move(file));
  return file;
}

}  // namespace anser
