// Small random models as files, written once per test program.
#pragma once

#include <string>

#include "support/temp_dir.h"
#include "support/writers.h"

namespace support {

// 256 rows: a token is a byte, and nothing is put in front of a prompt.
inline std::string byte_model() {
  static const TempDir folder;
  static const std::string path = [] {
    write_safetensors(folder / "bytes.safetensors", random_model({.vocab = 256}, 1));
    return folder / "bytes.safetensors";
  }();
  return path;
}

// 300 rows, with a vocabulary in the file: id b + 1 is the byte b, id 0 the end of text.
inline std::string write_vocabulary_model(const TempDir& folder,
                                          decltype(GgufOptions::metadata) metadata) {
  GgufOptions options;
  options.byte_vocabulary = true;
  options.metadata = std::move(metadata);
  write_gguf(folder / "model.gguf", random_model({.vocab = 300}, 2), options);
  return folder / "model.gguf";
}
inline std::string vocabulary_model() {
  static const TempDir folder;
  static const std::string path = write_vocabulary_model(folder, {});
  return path;
}

// The same weights in a file that says that they tell stories, or how to sample from them.
inline std::string story_model() {
  static const TempDir folder;
  static const std::string path = write_vocabulary_model(
      folder,
      {{"anser.kind", "story"}, {"general.sampling.temp", 0.75f}, {"general.sampling.top_k", 40}});
  return path;
}
inline std::string greedy_model() {
  static const TempDir folder;
  static const std::string path = write_vocabulary_model(folder, {{"general.sampling.temp", 0.0f}});
  return path;
}

}  // namespace support
