// Tiny files of each kind, byte by byte, so that a test can bend any one of them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "anser/error.h"
#include "formats/tensor_file.h"

namespace builders {

// The little-endian bytes of a number.
template <typename T>
std::string raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

template <typename T>
std::string raw_all(const std::vector<T>& values) {
  std::string out;
  for (const T value : values) out += raw(value);
  return out;
}

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// --- safetensors

// With its length in front.
std::string safetensors(const std::string& header, const std::string& data);

// --- GGUF

std::string gguf_string(const std::string& text);
std::string gguf_pair(const std::string& key, uint32_t type, const std::string& value);
std::string gguf_array(uint32_t type, uint64_t count, const std::string& elements);

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims;  // innermost first
  uint32_t type;
  uint64_t offset;
};

struct Gguf {
  uint32_t version = 3;
  std::vector<std::string> pairs;
  std::vector<GgufTensor> tensors;
  std::string data;
  uint64_t alignment = 32;

  std::string bytes() const;
};

// --- zip

struct ZipFile {
  std::string name, data;
  uint16_t flags = 0x0808;  // as torch.save: sizes behind the data, names in UTF-8
  uint16_t method = 0;
  bool zip64 = false;
};

// With `zip64` the end record too refers to a zip64 record.
std::string zip(const std::vector<ZipFile>& files, bool zip64 = false);

// --- pickles of torch.save

std::string pickle_text(const std::string& text);
std::string pickle_int(int64_t value);
std::string pickle_tuple(const std::vector<int64_t>& values);
std::string pickle_storage(const std::string& type, const std::string& key, int64_t elements,
                           const std::string& device = "cpu");
std::string pickle_tensor(const std::string& storage, int64_t offset,
                          const std::vector<int64_t>& shape, const std::vector<int64_t>& strides);
std::string pickle_dict(const std::vector<std::pair<std::string, std::string>>& items);
std::string pickle(const std::string& root);  // protocol 2

// data.pkl, byteorder, the storages data/<key>, version; in the folder "model".
std::string pth(const std::string& pickled,
                const std::vector<std::pair<std::string, std::string>>& storages);

// --- checking

// The elements of a tensor in row-major order, whatever its strides.
template <typename T>
std::vector<T> elements(const anser::FileTensor& tensor) {
  std::vector<T> out;
  std::vector<int64_t> index(tensor.shape.size());
  for (int64_t n = 0; n < tensor.elements(); ++n) {
    int64_t at = 0;
    for (size_t i = 0; i < index.size(); ++i) at += index[i] * tensor.strides[i];
    T value;
    std::memcpy(&value, tensor.bytes.subspan(at * sizeof(T), sizeof(T)).data(), sizeof(T));
    out.push_back(value);
    for (size_t i = index.size(); i-- > 0;) {
      if (++index[i] < tensor.shape[i]) break;
      index[i] = 0;
    }
  }
  return out;
}

using Parser = anser::TensorFile (*)(std::span<const std::byte>, const std::string&);

// The text of the Error that parsing throws; empty, and a failure, when it throws none. The bytes
// are in an allocation of exactly their size, for the address sanitizer.
std::string error_of(Parser parse, const std::string& bytes);

// Expects an Error that names the file and says every one of `words`.
void expect_error(Parser parse, const std::string& bytes, const std::vector<std::string>& words);

// Parses every prefix of `bytes` that is shorter than all of it, and every variant with one byte
// changed: each must parse or throw Error. Returns how many prefixes parsed.
int parse_damaged(Parser parse, const std::string& bytes);

}  // namespace builders
