#include "base/blob.h"

extern "C" {
extern const std::byte anser_blob_default_model[];
extern const std::byte anser_blob_default_model_end[];
extern const std::byte anser_blob_world_vocabulary[];
extern const std::byte anser_blob_world_vocabulary_end[];
}

namespace anser {

std::span<const std::byte> blob_default_model() {
  return {anser_blob_default_model, anser_blob_default_model_end};
}

std::span<const std::byte> blob_world_vocabulary() {
  return {anser_blob_world_vocabulary, anser_blob_world_vocabulary_end};
}

}  // namespace anser
