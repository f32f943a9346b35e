// The same model in every format: the same logits, and those of the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "anser/error.h"
#include "anser/model.h"
#include "base/half.h"
#include "model/weights.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

constexpr int kTokens = 20;

class OpenFormats : public testing::Test {
 protected:
  // Logits after each token by the reference.
  static std::vector<reference::Vec> expected(const RandomModel& model, double group_eps = 64e-5) {
    reference::Model m = model.reference();
    m.group_norm_eps = group_eps;
    reference::State state(m);
    return reference::run(m, state, random_tokens(kTokens, model.shape.vocab));
  }

  void expect_reference(const std::string& path, const RandomModel& model, double group_eps = 64e-5,
                        double (*tolerance)(const Shape&, double) = float_tolerance) {
    SCOPED_TRACE(path);
    const auto want = expected(model, group_eps);
    const auto got = all_logits(path, random_tokens(kTokens, model.shape.vocab));
    for (int t = 0; t < kTokens; ++t) {
      expect_close(got[t], want[t], tolerance(model.shape, largest(want[t])),
                   "token " + std::to_string(t));
    }
  }

  TempDir dir_;
};

TEST_F(OpenFormats, AllFloatFormatsGiveTheSameBitsAndTheReferencesNumbers) {
  const RandomModel model = random_model({});
  std::vector<std::string> paths;
  const auto next = [&](const char* name) { return paths.emplace_back(dir_ / name); };

  write_safetensors(next("raw-f32.safetensors"), model, {.type = Float::f32});
  write_safetensors(next("raw-f16.safetensors"), model, {.type = Float::f16});
  write_safetensors(next("raw-bf16.safetensors"), model, {.type = Float::bf16});
  write_safetensors(next("prefix.safetensors"), model, {.prefix = "_forward_module."});
  write_safetensors(next("web.st"), model, {.type = Float::f16, .web_rwkv = true});
  write_pth(next("bf16.pth"), model, {});
  write_pth(next("f16.pth"), model, {.type = Float::f16, .root = "some name", .device = "cuda:0"});
  write_pth(next("f32.pth"), model, {.type = Float::f32, .state_dict = true});
  write_pth(next("zip64.pth"), model, {.zip64 = true});
  write_pth(next("plain.pth"), model, {.data_descriptors = false});
  write_pth(next("shared.pth"), model, {.shared_storage = true});
  write_pth(next("strided.pth"), model, {.strided = true});
  write_pth(next("layer0.pth"), model, {.layer0_values = true});
  write_hf_folder(next("hf"), model, {});
  write_hf_folder(next("hf-bf16"), model, {.type = Float::bf16, .shards = 3});
  write_hf_folder(next("hf-old"), model, {.fused_mix = true});
  write_gguf(next("f32.gguf"), model, {.type = Ggml::f32});
  write_gguf(next("f16.gguf"), model, {.type = Ggml::f16, .low_rank = Ggml::f16});
  write_gguf(next("bf16.gguf"), model, {.type = Ggml::bf16});
  write_gguf(next("unfused.gguf"), model, {.type = Ggml::f32, .unfused = true});

  const auto ids = random_tokens(kTokens, model.shape.vocab);
  const auto first = all_logits(paths[0], ids);
  const uint64_t fingerprint = Model::open(paths[0]).fingerprint();
  for (const std::string& path : paths) {
    EXPECT_EQ(all_logits(path, ids), first) << path;
    EXPECT_EQ(Model::open(path).fingerprint(), fingerprint) << path;
  }
  expect_reference(paths[0], model);
}

TEST_F(OpenFormats, QuantisedTypesGiveTheReferencesNumbersOnTheStoredWeights) {
  const RandomModel model = random_model({.width = 256, .layers = 2, .ffn = 512});
  for (const Ggml type : {Ggml::q8_0, Ggml::q4_0, Ggml::q4_1, Ggml::q5_0, Ggml::q5_1, Ggml::q4_k,
                          Ggml::q5_k, Ggml::q6_k}) {
    const std::string path = dir_ / (std::string(ggml_name(type)) + ".gguf");
    const RandomModel stored = write_gguf(path, model, {.type = type});
    expect_reference(path, stored, 64e-5, quantised_tolerance);
    EXPECT_EQ(Model::open(path).type(), ggml_name(type));
    // Not so far from the model that it was made of: 4 bits keep a distribution recognisable.
    EXPECT_LT(kl_divergence(expected(model).back(), expected(stored).back()), 0.3) << path;
  }
  // llama.cpp's direct conversion quantises a, v and g's low-rank matrices too.
  const Shape blocks = {
      .width = 256, .layers = 2, .ffn = 512, .rank_a = 32, .rank_v = 32, .rank_g = 64};
  const std::string path = dir_ / "low-rank-q8_0.gguf";
  const RandomModel stored =
      write_gguf(path, random_model(blocks), {.type = Ggml::q8_0, .low_rank = Ggml::q8_0});
  expect_reference(path, stored, 64e-5, quantised_tolerance);
}

// Types that the kernels do not know: repacked, which a note says once.
TEST_F(OpenFormats, RepackedTypesGiveTheReferencesNumbersOnTheStoredWeights) {
  const RandomModel model = random_model({.width = 256, .layers = 2, .ffn = 512});
  const std::tuple<Ggml, const char*, const char*> cases[] = {
      {Ggml::q3_k, "Q6_K", "the same numbers"},
      {Ggml::iq4_nl, "Q8_0", "the same numbers"},
      {Ggml::q2_k, "F16", "rounded by at most 1/2048"},
      {Ggml::iq4_xs, "F16", "rounded by at most 1/2048"}};
  for (const auto& [type, runs_as, words] : cases) {
    const std::string name = ggml_name(type), path = dir_ / (name + ".gguf");
    const RandomModel stored = write_gguf(path, model, {.type = type});
    expect_reference(path, stored, 64e-5, quantised_tolerance);
    const Model opened = Model::open(path);
    EXPECT_EQ(opened.type(), name);
    EXPECT_EQ(opened.run_type(), runs_as);
    ASSERT_EQ(opened.notes().size(), 1u);
    // 6 matrices in each of two layers, the embedding and the head.
    const std::string note = opened.notes()[0];
    for (const std::string& part :
         {path + ": repacked ", "14 " + name + " matrices as " + runs_as, std::string(words)}) {
      EXPECT_NE(note.find(part), std::string::npos) << note;
    }
    const Model exact = Model::open(path, {.vocabulary = "", .exact = true});
    EXPECT_EQ(exact.run_type(), runs_as == std::string("F16") ? "F32" : runs_as);
    EXPECT_NE(exact.notes().at(0).find("the same numbers"), std::string::npos);
  }
  write_gguf(dir_ / "f16.gguf", model, {.type = Ggml::f16});
  EXPECT_TRUE(Model::open(dir_ / "f16.gguf").notes().empty());
  EXPECT_EQ(Model::open(dir_ / "f16.gguf").run_type(), "F16");
}

// Bit for bit what an F16 file of the rounded weights gives.
TEST_F(OpenFormats, RoundedTypesRunAsTheirF16) {
  const RandomModel model = random_model({.width = 256, .layers = 2, .ffn = 512});
  for (const Ggml type : {Ggml::q2_k, Ggml::iq4_xs}) {
    RandomModel stored = write_gguf(dir_ / "q.gguf", model, {.type = type});
    for (Tensor& tensor : stored.tensors) {
      if (!tensor.matrix() || tensor.low_rank()) continue;
      for (double& x : tensor.values) x = f16_to_f32(f32_to_f16(float(x)));
    }
    write_gguf(dir_ / "f.gguf", stored, {.type = Ggml::f32});
    const auto ids = random_tokens(kTokens, model.shape.vocab);
    EXPECT_EQ(all_logits(dir_ / "q.gguf", ids), all_logits(dir_ / "f.gguf", ids));
  }
}

TEST_F(OpenFormats, WeightsTooLargeForF16RunAsF32) {
  const RandomModel model = random_model({.width = 256, .layers = 1, .ffn = 256});
  write_gguf(dir_ / "m.gguf", model, {.type = Ggml::q2_k});
  std::string bytes = read_file(dir_ / "m.gguf");
  // The last block belongs to the head. d stands four bytes before its end, behind which 300 blocks
  // of 84 bytes are filled up to a multiple of 32.
  const uint16_t large = 0x7000;  // 8192; weights go up to 45 times that
  std::memcpy(bytes.data() + bytes.size() - 16 - 4, &large, 2);
  write_file(dir_ / "m.gguf", bytes);
  const Model opened = Model::open(dir_ / "m.gguf");
  EXPECT_EQ(opened.weights().emb.type, DType::f16);
  EXPECT_EQ(opened.weights().head.type, DType::f32);
  std::vector<float> row(256);
  std::memcpy(row.data(), opened.weights().head.data + 299 * 256 * 4, 256 * 4);
  EXPECT_NEAR(*std::max_element(row.begin(), row.end()), 8192 * 45, 8192);
  const std::string note = opened.notes().at(0);
  EXPECT_NE(note.find("7 Q2_K matrices as F16"), std::string::npos) << note;
  EXPECT_NE(note.find("1 Q2_K matrix as F32 (the same numbers)"), std::string::npos) << note;
}

TEST_F(OpenFormats, SplitGgufOpensFromAnyPart) {
  const RandomModel model = random_model({.vocab = 60, .width = 64, .layers = 2, .ffn = 64});
  write_gguf_parts(dir_ / "m", model, 3);
  for (const char* part : {"m-00001-of-00003.gguf", "m-00003-of-00003.gguf"}) {
    expect_reference(dir_ / part, model);
  }
  expect_reference(dir_.path(), model);
}

TEST_F(OpenFormats, SizesComeFromShapes) {
  const Shape shapes[] = {
      {.vocab = 77, .width = 96, .layers = 2, .head_size = 32, .ffn = 288},
      {.vocab = 50, .width = 144, .layers = 2, .head_size = 48, .ffn = 250},
      {.vocab = 256, .width = 64, .layers = 1, .head_size = 64, .ffn = 256},
      {.vocab = 40,
       .width = 128,
       .layers = 2,
       .ffn = 100,
       .rank_w = 5,
       .rank_a = 7,
       .rank_v = 3,
       .rank_g = 11},
      {.vocab = 40,
       .width = 40,
       .layers = 5,
       .head_size = 20,
       .ffn = 160,
       .rank_w = 64,
       .rank_a = 50,
       .rank_v = 45,
       .rank_g = 41},
  };
  int i = 0;
  for (const Shape& shape : shapes) {
    const RandomModel model = random_model(shape);
    for (const char* kind : {"pth", "web", "gguf"}) {
      const std::string path = dir_ / (std::to_string(i++) + kind);
      if (kind[0] == 'p') write_pth(path, model, {.type = Float::f32});
      if (kind[0] == 'w') write_safetensors(path, model, {.web_rwkv = true});
      if (kind[0] == 'g') write_gguf(path, model, {.type = Ggml::f32});
      const Hyperparameters h = Model::open(path).hyperparameters();
      EXPECT_EQ(h.vocab, shape.vocab);
      EXPECT_EQ(h.width, shape.width);
      EXPECT_EQ(h.layers, shape.layers);
      EXPECT_EQ(h.head_size, shape.head_size);
      EXPECT_EQ(h.heads, shape.width / shape.head_size);
      EXPECT_EQ(h.ffn, shape.ffn);
      EXPECT_EQ(h.rank_w, shape.rank_w);
      EXPECT_EQ(h.rank_a, shape.rank_a);
      EXPECT_EQ(h.rank_g, shape.rank_g);
      EXPECT_EQ(h.rank_v, shape.layers > 1 ? shape.rank_v : 0);
      expect_reference(path, model);
    }
  }
}

// Hugging Face's group norm: eps = head_dim * norm_eps.
TEST_F(OpenFormats, HuggingFaceGroupNormEpsilonFollowsTheHeadSize) {
  const RandomModel model = random_model({.vocab = 60, .width = 64, .layers = 2, .head_size = 16});
  write_hf_folder(dir_ / "hf", model);
  expect_reference(dir_ / "hf", model, 16e-5);
}

// When every rank equals the width only web-rwkv's header tells the orientation.
TEST_F(OpenFormats, SquareLowRankMatricesAreToldByTheHeader) {
  const RandomModel model = random_model({.vocab = 60,
                                          .width = 32,
                                          .layers = 2,
                                          .head_size = 16,
                                          .ffn = 64,
                                          .rank_w = 32,
                                          .rank_a = 32,
                                          .rank_v = 32,
                                          .rank_g = 32});
  write_safetensors(dir_ / "raw", model);
  write_safetensors(dir_ / "web", model, {.web_rwkv = true});
  expect_reference(dir_ / "raw", model);
  expect_reference(dir_ / "web", model);
}

TEST_F(OpenFormats, OpeningReadsNoMatrix) {
  // A file that claims 6 GB of embedding, all of it a hole: opening it must cost no memory or time.
  RandomModel model = random_model({.vocab = 4, .width = 64, .layers = 1, .ffn = 64});
  const std::string path = dir_ / "sparse.safetensors";
  write_safetensors(path, model);
  const std::string small = read_file(path);
  uint64_t length;
  std::memcpy(&length, small.data(), 8);
  std::string header = small.substr(8, length);
  const std::string data = small.substr(8 + length);
  // emb.weight moves behind everything else, with 2^23 rows of 64 fp32 and a head to match.
  const int64_t rows = int64_t(1) << 23, bytes = rows * 64 * 4;
  auto json = nlohmann::json::parse(header);
  for (const char* name : {"emb.weight", "head.weight"}) {
    const int64_t at = int64_t(data.size()) + (name[0] == 'h' ? bytes : 0);
    json[name]["shape"] = {rows, 64};
    json[name]["data_offsets"] = {at, at + bytes};
  }
  header = json.dump();
  length = header.size();
  write_file(path, std::string(reinterpret_cast<const char*>(&length), 8) + header + data);
  std::filesystem::resize_file(path, 8 + length + data.size() + 2 * uint64_t(bytes));

  const Model opened = Model::open(path);
  EXPECT_EQ(opened.hyperparameters().vocab, rows);
  EXPECT_GT(opened.file_bytes(), size_t(4) << 30);
  EXPECT_FALSE(opened.has_tokenizer());
}

TEST_F(OpenFormats, GgufBringsItsVocabulary) {
  const RandomModel model = random_model({.width = 64, .layers = 1, .ffn = 64});
  write_gguf(dir_ / "m.gguf", model, {.byte_vocabulary = true});
  const Model opened = Model::open(dir_ / "m.gguf");
  EXPECT_EQ(opened.tokenizer().encode("a\n'\\\xff"), (std::vector<Token>{98, 11, 40, 93, 256}));
  EXPECT_EQ(opened.tokenizer().decode(std::vector<Token>{98, 0, 256}), "a\xff");
}

TEST_F(OpenFormats, VocabularyIsFoundBesideTheModelOrNamed) {
  const RandomModel model = random_model({.width = 64, .layers = 1, .ffn = 64});
  write_safetensors(dir_ / "m.safetensors", model);
  EXPECT_THROW(Model::open(dir_ / "m.safetensors").tokenizer(), Error);

  std::string vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    char line[32];
    std::snprintf(line, sizeof(line), "%d b'\\x%02x' 1\n", byte + 1, byte);
    vocabulary += line;
  }
  write_file(dir_ / "named.txt", vocabulary + "257 'goose' 5\n");
  const Model named = Model::open(dir_ / "m.safetensors", {.vocabulary = dir_ / "named.txt"});
  EXPECT_EQ(named.tokenizer().encode("goose"), std::vector<Token>{257});
  write_file(dir_ / "rwkv_vocab_v20230424.txt", vocabulary);
  EXPECT_EQ(Model::open(dir_ / "m.safetensors").tokenizer().encode("g"), std::vector<Token>{104});
}

TEST_F(OpenFormats, AVocabularyOfAnotherModelIsNotTaken) {
  const RandomModel model = random_model({.vocab = 256, .width = 64, .layers = 1, .ffn = 64});
  write_safetensors(dir_ / "m.safetensors", model);
  std::string vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    char line[32];
    std::snprintf(line, sizeof(line), "%d b'\\x%02x' 1\n", byte + 1, byte);
    vocabulary += line;
  }
  write_file(dir_ / "rwkv_vocab_v20230424.txt", vocabulary);  // ids up to 256: one too many
  EXPECT_TRUE(Model::open(dir_ / "m.safetensors").tokenizer().is_byte_level());
  EXPECT_THROW(
      Model::open(dir_ / "m.safetensors", {.vocabulary = dir_ / "rwkv_vocab_v20230424.txt"}),
      Error);
}

}  // namespace
}  // namespace anser
