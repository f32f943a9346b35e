// What a model's file says of its use: what the model is for, and how to sample from it.
#pragma once

#include <functional>
#include <string>

#include "anser/model.h"
#include "formats/tensor_file.h"

namespace anser {

struct Purpose {
  std::string kind;  // empty: the file says nothing
  SamplingDefaults sampling;
};

// Of the keys anser.kind and general.sampling.temp, top_p, top_k and min_p. Numbers may be text, as
// in safetensors, whose metadata has nothing else. Throws Error naming the key, what it holds and
// what is expected, when the type is wrong or SamplingOptions::check would refuse the value.
Purpose read_purpose(const TensorFile& file);

// The same for a file to be written: every key that there is something to say for.
struct PurposeWriter {
  std::function<void(const std::string& key, const std::string& value)> text;
  std::function<void(const std::string& key, float value)> real;
  std::function<void(const std::string& key, int value)> integer;
};
void write_purpose(const Model& model, const PurposeWriter& to);

// One of the keys that read_purpose knows.
bool is_purpose_key(const std::string& key);

}  // namespace anser
