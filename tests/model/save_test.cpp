// Models written again: the same logits from every format to every format, the same tensors as the
// tests' own writer makes, and what cannot be written refused without leaving a file.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <map>

#include "formats/tensor_file.h"
#include "model/quantize_mix.h"
#include "model/save_gguf.h"
#include "model/save_safetensors.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/full_disk.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

constexpr Shape kShape = {.vocab = 70, .width = 64, .layers = 2, .head_size = 32, .ffn = 160};
// Wide enough for blocks of 256.
constexpr Shape kWide = {.vocab = 300, .width = 256, .layers = 2, .ffn = 512};
constexpr int kTokens = 12;

class Save : public testing::Test {
 protected:
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

TEST_F(Save, EveryFormatToEveryFormatGivesTheSameBits) {
  // Heads of 64 in fla's layout, whose group norm would be another one else.
  const Shape shape = {.vocab = 70, .width = 128, .layers = 2, .ffn = 160};
  const RandomModel model = random_model(shape);
  const auto ids = random_tokens(kTokens, shape.vocab);
  std::vector<std::vector<float>> expected;
  uint64_t fingerprint = 0;
  for (const std::string& in : every_format(model)) {
    SCOPED_TRACE(in);
    if (expected.empty()) {
      expected = all_logits(in, ids);
      fingerprint = Model::open(in).fingerprint();
    }
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
      SCOPED_TRACE(dtype_name(type));
      for (const std::string& out : {gguf(in, type), safetensors(in, type)}) {
        const Model written = Model::open(out);
        EXPECT_EQ(all_logits(out, ids), expected) << out;
        EXPECT_EQ(written.fingerprint(), fingerprint) << out;
        EXPECT_EQ(written.type(), dtype_name(type)) << out;
      }
    }
  }
}

TEST_F(Save, GgufHasTheTensorsThatTheTestsWriterMakes) {
  const RandomModel model = random_model(kShape);
  write_gguf(dir_ / "in.gguf", model, {.type = Ggml::f16, .low_rank = Ggml::f16});
  write_safetensors(dir_ / "in.safetensors", model, {.type = Float::bf16});
  const TensorFile expected = open_tensor_file(dir_ / "in.gguf");
  const TensorFile written = open_tensor_file(gguf(dir_ / "in.safetensors", DType::f16));
  EXPECT_EQ(written.tensors.size(), expected.tensors.size());
  for (const FileTensor& tensor : expected.tensors) {
    const FileTensor* found = written.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->type, tensor.type) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(found->bytes, tensor.bytes)) << tensor.name;
  }
  for (const auto& [key, value] : expected.metadata) {
    ASSERT_EQ(written.metadata.count(key), 1u) << key;
    EXPECT_EQ(written.metadata.at(key), value) << key;
  }
}

TEST_F(Save, SafetensorsHasTheTensorsThatTheTestsWriterMakes) {
  const RandomModel model = random_model(kShape);
  write_gguf(dir_ / "in.gguf", model, {.type = Ggml::f32});
  write_safetensors(dir_ / "in.safetensors", model, {.type = Float::bf16});
  const TensorFile expected = open_tensor_file(dir_ / "in.safetensors");
  const TensorFile written = open_tensor_file(safetensors(dir_ / "in.gguf", DType::bf16));
  EXPECT_EQ(written.tensors.size(), expected.tensors.size());
  for (const FileTensor& tensor : expected.tensors) {
    const FileTensor* found = written.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->type, tensor.type) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(found->bytes, tensor.bytes)) << tensor.name;
  }
}

// A vector that bf16 would round stays fp32, and the model is recognised.
TEST_F(Save, VectorsAreNeverRounded) {
  RandomModel model = random_model(kShape);
  model["blocks.1.ln1.weight"].values[3] = 1 + 0x1p-20;
  write_safetensors(dir_ / "in.safetensors", model);
  const std::string out = safetensors(dir_ / "in.safetensors", DType::bf16);
  const TensorFile file = open_tensor_file(out);
  EXPECT_EQ(file.find("blocks.1.ln1.weight")->type, DType::f32);
  EXPECT_EQ(file.find("blocks.0.ln1.weight")->type, DType::bf16);
  EXPECT_EQ(Model::open(out).fingerprint(), Model::open(dir_ / "in.safetensors").fingerprint());
}

TEST_F(Save, MatricesKeepTheirTypeWhenAsked) {
  const RandomModel model = random_model(kShape);
  write_gguf(dir_ / "in.gguf", model, {.type = Ggml::bf16, .low_rank = Ggml::f16});
  SaveOptions options = as(DType::bf16);
  options.keep_plain = true;
  save_safetensors(Model::open(dir_ / "in.gguf"), dir_ / "out.safetensors", options);
  const TensorFile file = open_tensor_file(dir_ / "out.safetensors");
  EXPECT_EQ(file.find("emb.weight")->type, DType::bf16);
  EXPECT_EQ(file.find("blocks.0.att.w1")->type, DType::f32);
  EXPECT_EQ(file.find("blocks.0.att.g1")->type, DType::f16);
}

TEST_F(Save, TheVocabularyGoesAlong) {
  const RandomModel model = random_model({.vocab = 300, .width = 64, .layers = 1, .ffn = 64});
  write_gguf(dir_ / "in.gguf", model, {.byte_vocabulary = true});
  const Model before = Model::open(dir_ / "in.gguf");
  const Model after = Model::open(gguf(dir_ / "in.gguf", DType::f16));
  ASSERT_TRUE(after.has_tokenizer());
  EXPECT_FALSE(after.tokenizer().is_byte_level());
  for (Token id = 0; id < 300; ++id) {
    EXPECT_EQ(after.tokenizer().bytes_of(id), before.tokenizer().bytes_of(id)) << id;
  }
  const Tokenizer from_text =
      Tokenizer::from_vocabulary(vocabulary_text(before.tokenizer()), "text");
  for (Token id = 0; id < 300; ++id) {
    EXPECT_EQ(from_text.bytes_of(id), before.tokenizer().bytes_of(id)) << id;
  }
}

TEST_F(Save, TokensOfManyBytesAreEscaped) {
  write_safetensors(dir_ / "in.safetensors",
                    random_model({.vocab = 300, .width = 64, .layers = 1, .ffn = 64}));
  std::string vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    char line[32];
    std::snprintf(line, sizeof(line), "%d b'\\x%02x' 1\n", byte + 1, byte);
    vocabulary += line;
  }
  vocabulary += "257 '\\\\n' 2\n258 '\\n\\t\\r' 3\n260 \"it's\" 4\n261 'gänse\\x00' 7\n";
  write_file(dir_ / "vocabulary", vocabulary);
  const Model before = Model::open(dir_ / "in.safetensors", {.vocabulary = dir_ / "vocabulary"});
  save_gguf(before, dir_ / "out.gguf", as(DType::f16));
  const Model after = Model::open(dir_ / "out.gguf");
  for (Token id = 0; id < 300; ++id) {
    EXPECT_EQ(after.tokenizer().bytes_of(id), before.tokenizer().bytes_of(id)) << id;
  }
  const TensorFile file = open_tensor_file(dir_ / "out.gguf");
  const auto& tokens =
      std::get<std::vector<std::string>>(file.metadata.at("tokenizer.ggml.tokens"));
  EXPECT_EQ(tokens[0], "<s>");
  EXPECT_EQ(tokens[257], "\\\\n");
  EXPECT_EQ(tokens[258], "\\n\\t\\r");
  EXPECT_EQ(tokens[259], "[PAD259]");
  EXPECT_EQ(tokens[261], "g\\xc3\\xa4nse\\x00");
}

TEST_F(Save, AByteLevelModelStaysOne) {
  write_pth(dir_ / "in.pth", random_model({.vocab = 256, .width = 64, .layers = 1, .ffn = 64}));
  const std::string out = gguf(dir_ / "in.pth", DType::f16);
  EXPECT_TRUE(Model::open(out).tokenizer().is_byte_level());
  // No id ends a text.
  EXPECT_EQ(open_tensor_file(out).metadata.count("tokenizer.ggml.eos_token_id"), 0u);
}

TEST_F(Save, WithoutAVocabularyTheFileSaysSo) {
  write_pth(dir_ / "in.pth", random_model(kShape));
  const TensorFile file = open_tensor_file(gguf(dir_ / "in.pth", DType::f16));
  EXPECT_EQ(std::get<std::string>(file.metadata.at("tokenizer.ggml.model")), "no_vocab");
  EXPECT_EQ(std::get<int64_t>(file.metadata.at("rwkv7.vocab_size")), kShape.vocab);
}

TEST_F(Save, NamesAndTextsAreKept) {
  write_pth(dir_ / "goose-0.1b.pth", random_model(kShape));
  const std::string first = gguf(dir_ / "goose-0.1b.pth", DType::f16, "out1.gguf");
  const auto name = [](const std::string& path) {
    return std::get<std::string>(open_tensor_file(path).metadata.at("general.name"));
  };
  EXPECT_EQ(name(first), "goose-0.1b");
  EXPECT_EQ(name(gguf(first, DType::f32, "out2.gguf")), "goose-0.1b");
}

TEST_F(Save, TrainedInitialStatesStayInSafetensors) {
  RandomModel model = random_model(kTinyShape);
  const int heads = kTinyShape.width / kTinyShape.head_size, n = kTinyShape.head_size;
  for (int l = 0; l < kTinyShape.layers; ++l) {
    const std::string att = "blocks." + std::to_string(l) + ".att.";
    Tensor state{att + "time_state", {heads, n, n}, {}}, shift{att + "ts_state", {heads * n}, {}};
    for (int i = 0; i < heads * n * n; ++i) state.values.push_back((i % 97 - 48 + l) / 64.0);
    for (int i = 0; i < heads * n; ++i) shift.values.push_back((i - l) / 8.0);
    model.tensors.push_back(state);
    model.tensors.push_back(shift);
  }
  write_pth(dir_ / "in.pth", model, {.type = Float::f32});
  const Model before = Model::open(dir_ / "in.pth");
  const Model after = Model::open(safetensors(dir_ / "in.pth", DType::bf16));
  EXPECT_TRUE(after.initial_state() == before.initial_state());
  EXPECT_EQ(std::as_const(after).initial_state().wkv(0)[1], -47 / 64.0f);
  // llama.cpp would refuse a GGUF file with tensors that it does not know.
  const TensorFile file = open_tensor_file(gguf(dir_ / "in.pth", DType::f16));
  for (const FileTensor& tensor : file.tensors) {
    EXPECT_EQ(tensor.name.find("time_state"), std::string::npos);
  }
}

TEST_F(Save, QuantisedModelsDivergeInTheOrderOfTheirBits) {
  const RandomModel model = random_model(kWide);
  write_safetensors(dir_ / "in.safetensors", model);
  const auto ids = random_tokens(40, kWide.vocab);
  const auto expected = all_logits(dir_ / "in.safetensors", ids);
  const auto divergence = [&](DType type) {
    const auto found = all_logits(gguf(dir_ / "in.safetensors", type), ids);
    double sum = 0;
    for (size_t t = 0; t < ids.size(); ++t) sum += kl_divergence(expected[t], found[t]);
    return sum / double(ids.size());
  };
  const double q8_0 = divergence(DType::q8_0), q6_k = divergence(DType::q6_k);
  const double q5_k = divergence(DType::q5_k), q4_k = divergence(DType::q4_k);
  const double q4_0 = divergence(DType::q4_0);
  EXPECT_GT(q8_0, 0);
  EXPECT_LT(q8_0, q6_k);
  EXPECT_LT(q6_k, q5_k);
  EXPECT_LT(q5_k, q4_k);
  EXPECT_LE(q4_k, q4_0);
  EXPECT_LT(q4_0, 0.05);
}

TEST_F(Save, TheMixOfTypes) {
  write_safetensors(dir_ / "in.safetensors", random_model(kWide));
  const auto types = [&](DType type) {
    std::map<std::string, DType> found;
    for (const FileTensor& t : open_tensor_file(gguf(dir_ / "in.safetensors", type)).tensors) {
      found[t.name] = t.type;
    }
    return found;
  };
  auto q4_k = types(DType::q4_k);
  EXPECT_EQ(q4_k["output.weight"], DType::q5_k);
  EXPECT_EQ(q4_k["token_embd.weight"], DType::q5_k);
  EXPECT_EQ(q4_k["blk.1.time_mix_value.weight"], DType::q5_k);
  EXPECT_EQ(q4_k["blk.1.time_mix_output.weight"], DType::q5_k);
  EXPECT_EQ(q4_k["blk.0.time_mix_output.weight"], DType::q8_0);
  EXPECT_EQ(q4_k["blk.1.time_mix_key.weight"], DType::q4_k);
  EXPECT_EQ(q4_k["blk.1.channel_mix_value.weight"], DType::q4_k);
  auto q8_0 = types(DType::q8_0);
  for (auto& found : {q4_k, q8_0}) {
    for (const auto& [name, type] : found) {
      const bool vector = name.ends_with("norm.weight") || name.ends_with("norm_2.weight") ||
                          name.ends_with(".bias") || name.find("lerp") != std::string::npos ||
                          name.ends_with("0.weight") || name.find("_k_") != std::string::npos ||
                          name.ends_with("r_k.weight") || name.ends_with("ln.weight");
      if (vector) {
        EXPECT_EQ(type, DType::f32) << name;
      }
      const bool decay = name.ends_with("w1.weight") || name.ends_with("w2.weight");
      if (decay) {
        EXPECT_EQ(type, DType::f32) << name;
      }
      const bool low_rank = name.ends_with("1.weight") || name.ends_with("2.weight");
      if (low_rank && !vector && !decay) {
        EXPECT_EQ(type, DType::f16) << name;
      }
    }
  }
  EXPECT_EQ(q8_0["output.weight"], DType::q8_0);
  EXPECT_EQ(types(DType::q5_k)["output.weight"], DType::q6_k);
  EXPECT_EQ(types(DType::q6_k)["output.weight"], DType::q6_k);
  EXPECT_EQ(types(DType::q4_0)["output.weight"], DType::q5_k);
  // Rows of no 256s.
  EXPECT_EQ(matrix_type("head.weight", 192, DType::q4_0), DType::q5_0);
}

TEST_F(Save, QuantisingToTheSameTypeChangesNoBit) {
  const RandomModel model = random_model(kWide);
  for (const Ggml type : {Ggml::q8_0, Ggml::q6_k}) {
    write_gguf(dir_ / "in.gguf", model, {.type = type});
    const DType same = type == Ggml::q8_0 ? DType::q8_0 : DType::q6_k;
    const TensorFile before = open_tensor_file(dir_ / "in.gguf");
    const TensorFile after = open_tensor_file(gguf(dir_ / "in.gguf", same));
    for (const FileTensor& tensor : before.tensors) {
      if (tensor.type != same) continue;
      EXPECT_TRUE(std::ranges::equal(after.find(tensor.name)->bytes, tensor.bytes)) << tensor.name;
    }
  }
}

// Quantised matrices that are to be turned round: blocks lie across what is written.
TEST_F(Save, QuantisedLowRankMatricesAreTurnedRound) {
  const Shape blocks = {.vocab = 70,
                        .width = 64,
                        .layers = 2,
                        .ffn = 64,
                        .rank_w = 8,
                        .rank_a = 32,
                        .rank_v = 32,
                        .rank_g = 64};
  const RandomModel stored = write_gguf(dir_ / "in.gguf", random_model(blocks),
                                        {.type = Ggml::q8_0, .low_rank = Ggml::q8_0});
  const TensorFile file = open_tensor_file(safetensors(dir_ / "in.gguf", DType::f32));
  for (const Tensor& tensor : stored.tensors) {
    const FileTensor* found = file.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    ASSERT_EQ(found->shape, tensor.shape) << tensor.name;
    ASSERT_EQ(found->type, DType::f32);
    const auto* values = reinterpret_cast<const float*>(found->bytes.data());
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      ASSERT_EQ(values[i], tensor.values[i]) << tensor.name << " " << i;
    }
  }
}

TEST_F(Save, ThreadsChangeNoBit) {
  write_pth(dir_ / "in.pth", random_model(kWide), {.strided = true});
  const Model model = Model::open(dir_ / "in.pth");
  save_gguf(model, dir_ / "out1", as(DType::q4_k, 1));
  save_gguf(model, dir_ / "out3", as(DType::q4_k, 3));
  EXPECT_TRUE(read_file(dir_ / "out1") == read_file(dir_ / "out3"));
}

TEST_F(Save, RowsThatFillNoBlocksAreRefused) {
  write_pth(dir_ / "in.pth", random_model({.vocab = 70, .width = 128, .layers = 2, .ffn = 512}));
  expect_error({"in.pth", "Q4_K", "blocks of 256", "128", "Q8_0 and Q4_0"},
               [&] { gguf(dir_ / "in.pth", DType::q4_k); });
  write_pth(dir_ / "odd.pth", random_model({.vocab = 70, .width = 64, .layers = 2, .ffn = 100}));
  expect_error({"odd.pth", "Q8_0", "blocks of 32", "100", "F16"},
               [&] { gguf(dir_ / "odd.pth", DType::q8_0); });
  EXPECT_TRUE(out_is_absent());
}

TEST_F(Save, WeightsThatAreNoNumbersAreNamed) {
  RandomModel model = random_model(kShape);
  model["blocks.1.att.key.weight"].values[5 * 64 + 7] = std::numeric_limits<double>::quiet_NaN();
  write_safetensors(dir_ / "nan.safetensors", model);
  model["blocks.1.att.key.weight"].values[5 * 64 + 7] = std::numeric_limits<double>::infinity();
  write_gguf(dir_ / "inf.gguf", model, {.type = Ggml::f32});
  // In a matrix that is turned round, the place in the file that is read.
  model = random_model(kShape);
  model["blocks.0.att.g1"].values[3 * 40 + 9] = -std::numeric_limits<double>::infinity();
  write_safetensors(dir_ / "low.safetensors", model);
  for (const DType type : {DType::f32, DType::f16, DType::q8_0}) {
    expect_error({"nan.safetensors", "blocks.1.att.key.weight", "[5, 7]", "NaN"},
                 [&] { gguf(dir_ / "nan.safetensors", type); });
    expect_error({"inf.gguf", "blk.1.time_mix_key.weight", "[5, 7]", "infinite"},
                 [&] { gguf(dir_ / "inf.gguf", type); });
    expect_error({"low.safetensors", "blocks.0.att.g1", "[3, 9]", "infinite"},
                 [&] { gguf(dir_ / "low.safetensors", type); });
  }
  EXPECT_TRUE(out_is_absent());
}

TEST_F(Save, WeightsBeyondTheTypesEndAreNamed) {
  RandomModel model = random_model(kShape);
  model["head.weight"].values[64 + 2] = 0x1p17;
  write_safetensors(dir_ / "large.safetensors", model);
  for (const DType type : {DType::f16, DType::q8_0, DType::q4_0}) {
    expect_error({"large.safetensors", "head.weight", "[1, 2]", "131072", "65504", "BF16"},
                 [&] { gguf(dir_ / "large.safetensors", type); });
  }
  EXPECT_TRUE(out_is_absent());
  const auto ids = random_tokens(3, kShape.vocab);
  for (const DType type : {DType::f32, DType::bf16}) {
    EXPECT_EQ(all_logits(gguf(dir_ / "large.safetensors", type), ids),
              all_logits(dir_ / "large.safetensors", ids));
  }
}

TEST_F(Save, AGroupNormThatOnlyAConfigCanStateIsRefused) {
  write_hf_folder(
      dir_ / "hf",
      random_model({.vocab = 60, .width = 64, .layers = 2, .head_size = 16, .ffn = 64}));
  expect_error({"group norm", "Hugging Face"}, [&] { gguf(dir_ / "hf", DType::f16); });
  expect_error({"group norm"}, [&] { safetensors(dir_ / "hf", DType::f16); });
  EXPECT_TRUE(out_is_absent());
}

TEST_F(Save, AFullDiskLeavesNothing) {
  write_pth(dir_ / "in.pth", random_model(kShape));
  {
    const FullDisk disk(20000);
    expect_error({"cannot write", "out.gguf"}, [&] { gguf(dir_ / "in.pth", DType::f16); });
    expect_error({"cannot write", "out.safetensors"},
                 [&] { safetensors(dir_ / "in.pth", DType::f16); });
  }
  EXPECT_TRUE(out_is_absent());
}

TEST_F(Save, ProgressEndsAtAllAndMayStopIt) {
  write_pth(dir_ / "in.pth", random_model(kShape));
  SaveOptions options = as(DType::q8_0);
  size_t last = 0, all = 0;
  options.progress = [&](size_t done, size_t of) {
    EXPECT_GT(done, last);
    last = done;
    all = of;
  };
  save_gguf(Model::open(dir_ / "in.pth"), dir_ / "done.gguf", options);
  EXPECT_GT(all, 0u);
  EXPECT_EQ(last, all);
  EXPECT_EQ(all, Model::open(dir_ / "done.gguf").file_bytes());

  options.progress = [](size_t done, size_t of) {
    if (2 * done > of) throw Error("stop");
  };
  expect_error({"stop"}, [&] { save_gguf(Model::open(dir_ / "in.pth"), dir_ / "out", options); });
  EXPECT_TRUE(out_is_absent());
}

}  // namespace
}  // namespace anser
