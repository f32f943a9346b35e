// Models written again, from files in a folder of the test's own.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "anser/model.h"
#include "model/save_gguf.h"
#include "model/save_safetensors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {

using namespace support;

class Save : public testing::Test {
 protected:
  static constexpr Shape kShape = {
      .vocab = 70, .width = 64, .layers = 2, .head_size = 32, .ffn = 160};
  // Wide enough for blocks of 256.
  static constexpr Shape kWide = {.vocab = 300, .width = 256, .layers = 2, .ffn = 512};
  static constexpr int kTokens = 12;

  static SaveOptions as(DType type, int threads = 2) {
    SaveOptions options;
    options.type = type;
    options.threads = threads;
    return options;
  }
  std::string gguf(const std::string& in, DType type, const char* name = "out.gguf") {
    save_gguf(Model::open(in), dir_ / name, as(type));
    return dir_ / name;
  }
  std::string safetensors(const std::string& in, DType type, const char* name = "out.safetensors") {
    save_safetensors(Model::open(in), dir_ / name, as(type));
    return dir_ / name;
  }
  // A file in every layout that is read, in `in`.
  std::vector<std::string> every_format(const RandomModel& model) {
    std::filesystem::create_directory(dir_ / "in");
    std::vector<std::string> paths;
    const auto next = [&](const char* name) { return paths.emplace_back(dir_ / "in/" + name); };
    write_pth(next("bf16.pth"), model, {});
    write_pth(next("f32.pth"), model, {.type = Float::f32, .state_dict = true});
    write_pth(next("strided.pth"), model, {.strided = true});
    write_safetensors(next("raw.safetensors"), model, {.type = Float::f16});
    write_safetensors(next("web.st"), model, {.type = Float::f16, .web_rwkv = true});
    write_hf_folder(next("hf"), model, {.shards = 2});
    write_hf_folder(next("hf-old"), model, {.fused_mix = true});
    write_gguf(next("f16.gguf"), model, {.type = Ggml::f16, .low_rank = Ggml::f16});
    write_gguf(next("bf16.gguf"), model, {.type = Ggml::bf16, .byte_vocabulary = false});
    return paths;
  }
  bool out_is_absent() const {
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
      if (entry.path().filename().string().starts_with("out")) return false;
    }
    return true;
  }

  TempDir dir_;
};

}  // namespace anser
