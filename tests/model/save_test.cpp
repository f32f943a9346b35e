// Models written again: the same logits from every format to every format, and the same tensors as
// the tests' own writer makes.
#include "formats/tensor_file.h"
#include "model/save_fixture.h"
#include "support/engines.h"
#include "support/errors.h"

namespace anser {
namespace {

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
