// Files -> named tensors. Knows nothing of any model.
//
// Every reader checks its file once, at the edge: after it returns, each tensor's bytes lie inside
// the mapped file, its shape has no overflow, and names are unique. Nothing is copied; a tensor is
// a view that lives as long as the TensorFile (or a copy of it) does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "base/mapped_file.h"

namespace anser {

struct FileTensor {
  std::string name;
  DType type;
  // Row-major order as PyTorch has it: the last dimension is the innermost. GGUF's dimensions,
  // which are stored innermost first, are turned round by its reader. Empty shape: a scalar.
  std::vector<int64_t> shape;
  // In elements, one per dimension. Only .pth files hold anything but the contiguous strides.
  std::vector<int64_t> strides;
  // From the first element to the end of the last one.
  std::span<const std::byte> bytes;
  // What the file calls a type that is DType::unsupported: "IQ3_S", "F8_E4M3", "complex64".
  std::string unsupported_type = {};

  // The element type as a person knows it, also where it is unsupported.
  std::string type_name() const;
  int64_t elements() const;
  bool contiguous() const;
  std::string shape_text() const;  // "[768, 64]"
};

using MetaValue = std::variant<bool, int64_t, double, std::string, std::vector<std::string>,
                               std::vector<int64_t>, std::vector<double>>;

// memory: tensors that are in no file.
enum class FileFormat { safetensors, pth, gguf, hf_folder, memory };
const char* file_format_name(FileFormat format);

struct TensorFile {
  std::string path;  // as the user gave it; for error messages
  FileFormat format;
  std::vector<FileTensor> tensors;  // in file order
  // GGUF key-values; safetensors __metadata__; the top-level entries of a folder's config.json:
  // scalars, lists of one kind, objects as their JSON text (null and other lists are left out).
  std::map<std::string, MetaValue> metadata;
  std::string config;              // the path of the config.json whose entries are among them
  std::vector<std::string> notes;  // what a user should know, one sentence each, no full stop
  std::vector<std::shared_ptr<const MappedFile>> files;  // keeps the bytes mapped
  std::shared_ptr<const void> memory;                    // or keeps them, where there is no file

  const FileTensor* find(std::string_view name) const;  // null when absent
};

// Opens a file or a folder; the format is recognised by content, never by name. A part of a split
// GGUF file opens the whole; its other parts are found beside it by name.
TensorFile open_tensor_file(const std::string& path);

// The readers behind it. `path` only goes into error messages. These are the fuzzed entrances.
TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& path);
TensorFile parse_pth(std::span<const std::byte> bytes, const std::string& path);
TensorFile parse_gguf(std::span<const std::byte> bytes, const std::string& path);
// Recognises by content among the three.
TensorFile parse_tensor_bytes(std::span<const std::byte> bytes, const std::string& path);

}  // namespace anser
