#include "formats/tensor_file.h"

#include <gtest/gtest.h>

#include "formats/builders.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using builders::expect_error;
using support::TempDir;
using support::write_file;
using namespace std::string_literals;

std::string safetensors_of(const std::string& name, float value) {
  return builders::safetensors(
      "{\"" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      builders::raw(value));
}

std::string pth_of(const std::string& name) {
  const std::string storage = builders::pickle_storage("torch\nFloatStorage", "0", 1);
  return builders::pth(builders::pickle(builders::pickle_dict(
                           {{name, builders::pickle_tensor(storage, 0, {1}, {1})}})),
                       {{"0", builders::raw(1.0f)}});
}

std::string error_of_open(const std::string& path) {
  try {
    open_tensor_file(path);
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

void expect_open_error(const std::string& path, const std::vector<std::string>& words) {
  const std::string text = error_of_open(path);
  for (const std::string& word : words) {
    EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is not in: " << text;
  }
}

float value_of(const TensorFile& file, const std::string& name) {
  const FileTensor* tensor = file.find(name);
  return tensor == nullptr ? -1 : builders::elements<float>(*tensor).at(0);
}

TEST(TensorFile, RecognisesByContentNotByName) {
  const TempDir dir;
  const std::string path = dir / "model.bin";
  write_file(path, safetensors_of("a", 2));
  EXPECT_EQ(open_tensor_file(path).format, FileFormat::safetensors);
  write_file(path, pth_of("a"));
  EXPECT_EQ(open_tensor_file(path).format, FileFormat::pth);
  builders::Gguf gguf;
  write_file(path, gguf.bytes());
  EXPECT_EQ(open_tensor_file(path).format, FileFormat::gguf);
}

TEST(TensorFile, BytesStayMappedWithACopy) {
  const TempDir dir;
  write_file(dir / "m", safetensors_of("a", 2.5f));
  TensorFile copy;
  {
    const TensorFile file = open_tensor_file(dir / "m");
    EXPECT_EQ(file.path, dir / "m");
    copy = file;
  }
  EXPECT_EQ(value_of(copy, "a"), 2.5f);
}

TEST(TensorFile, FormatNames) {
  EXPECT_STREQ(file_format_name(FileFormat::safetensors), "safetensors");
  EXPECT_STREQ(file_format_name(FileFormat::pth), "pth");
  EXPECT_STREQ(file_format_name(FileFormat::gguf), "GGUF");
  EXPECT_STREQ(file_format_name(FileFormat::hf_folder), "Hugging Face folder");
}

TEST(TensorFile, StrangersAreNamed) {
  const auto expect = [](const std::string& bytes, const std::vector<std::string>& words) {
    expect_error(parse_tensor_bytes, bytes, words);
  };
  expect("", {"empty"});
  expect("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
         {"git-lfs pointer", "git lfs pull"});
  expect("\n <!DOCTYPE HTML><html>", {"web page", "link"});
  expect("<?xml version=\"1.0\"?><Error>", {"web page"});
  expect("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", {"before version 1.6", "again"});
  expect("fmgg\x65\0\0\0"s, {"rwkv.cpp", ".pth"});
  expect("lmgg"s, {"old ggml"});
  expect("tjgg"s, {"old ggml"});
  expect("\x1f\x8b\x08"s, {"gzip", "Unpack"});
  expect("\x28\xb5\x2f\xfd", {"zstd"});
  expect("{\"weight_map\": {}}", {"JSON", "folder"});
  expect("ANSERST\0\1\0\0\0"s, {"saved state", "--load-state"});
  expect(std::string(257, '\0') + "ustar\0"s, {"tar"});
  expect("1 '\\x00' 1\n2 '\\x01' 1\n", {"a vocabulary", "--vocab"});
  expect("hello, world", {"68 65 6c 6c 6f", "expected safetensors"});
  expect("\2\0\0\0\0\0\0\0[]"s, {"not a model file"});
}

TEST(TensorFile, MissingFile) {
  const TempDir dir;
  expect_open_error(dir / "nothing", {"nothing", "No such file"});
}

TEST(HfFolder, ConfigJoinsTheMetadata) {
  const TempDir dir;
  write_file(dir / "model.safetensors", safetensors_of("a", 3));
  write_file(dir / "config.json", R"({
    "hidden_size": 64, "norm_eps": 1e-5, "norm_bias": true, "model_type": "rwkv7", "attn": null,
    "architectures": ["RWKV7ForCausalLM"], "value_dim": [64, 128], "scales": [1, 0.5],
    "mixed": [1, "x"], "rope": {"theta": 5}, "huge": 18446744073709551615})");
  const TensorFile file = open_tensor_file(dir.path());
  EXPECT_EQ(file.format, FileFormat::hf_folder);
  EXPECT_EQ(file.path, dir.path());
  EXPECT_EQ(value_of(file, "a"), 3);
  EXPECT_EQ(file.metadata.at("hidden_size"), MetaValue(int64_t{64}));
  EXPECT_EQ(file.metadata.at("norm_eps"), MetaValue(1e-5));
  EXPECT_EQ(file.metadata.at("norm_bias"), MetaValue(true));
  EXPECT_EQ(file.metadata.at("model_type"), MetaValue("rwkv7"s));
  EXPECT_EQ(file.metadata.at("architectures"),
            MetaValue(std::vector<std::string>{"RWKV7ForCausalLM"}));
  EXPECT_EQ(file.metadata.at("value_dim"), MetaValue(std::vector<int64_t>{64, 128}));
  EXPECT_EQ(file.metadata.at("scales"), MetaValue(std::vector<double>{1, 0.5}));
  EXPECT_EQ(file.metadata.at("rope"), MetaValue(R"({"theta":5})"s));
  EXPECT_EQ(file.metadata.at("huge"), MetaValue(18446744073709551615.0));
  EXPECT_EQ(file.metadata.count("attn"), 0u);
  EXPECT_EQ(file.metadata.count("mixed"), 0u);
}

TEST(HfFolder, TheOnlyModelFile) {
  for (const char* name : {"RWKV-x070.pth", "some.safetensors", "pytorch_model.bin", "a.st"}) {
    const TempDir dir;
    write_file(dir / name, name == "a.st"s || name == "some.safetensors"s ? safetensors_of("a", 1)
                                                                          : pth_of("a"));
    write_file(dir / "README.md", "hello");
    const TensorFile file = open_tensor_file(dir.path());
    EXPECT_EQ(value_of(file, "a"), 1) << name;
    EXPECT_NE(file.format, FileFormat::hf_folder) << name;  // without a config.json
  }
}

TEST(HfFolder, SeveralCandidates) {
  const TempDir dir;
  expect_open_error(dir.path(), {"no model file", "it holds nothing"});
  write_file(dir / "tokenizer.json", "{}");
  expect_open_error(dir.path(), {"no model file", "it holds 'tokenizer.json'"});
  write_file(dir / "b.pth", pth_of("b"));
  write_file(dir / "a.safetensors", safetensors_of("a", 1));
  expect_open_error(dir.path(), {"2 model files", "'a.safetensors', 'b.pth'", "Name one"});
  // The usual name decides.
  write_file(dir / "model.safetensors", safetensors_of("m", 1));
  EXPECT_NE(open_tensor_file(dir.path()).find("m"), nullptr);
}

class Shards : public testing::Test {
 protected:
  void SetUp() override {
    write_file(dir_ / "config.json", R"({"hidden_size": 64})");
    write_file(dir_ / "m-1.safetensors", safetensors_of("a", 1));
    write_file(dir_ / "m-2.safetensors", safetensors_of("b", 2));
  }
  void write_index(const std::string& map) {
    write_file(dir_ / "model.safetensors.index.json",
               R"({"metadata": {"total_size": 8}, "weight_map": )" + map + "}");
  }
  void expect_index_error(const std::string& map, const std::vector<std::string>& words) {
    write_index(map);
    expect_open_error(dir_.path(), words);
  }

  TempDir dir_;
};

TEST_F(Shards, AreJoined) {
  write_index(R"({"a": "m-1.safetensors", "b": "m-2.safetensors"})");
  const TensorFile file = open_tensor_file(dir_.path());
  EXPECT_EQ(file.format, FileFormat::hf_folder);
  EXPECT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.files.size(), 2u);
  EXPECT_EQ(value_of(file, "a"), 1);
  EXPECT_EQ(value_of(file, "b"), 2);
}

TEST_F(Shards, OfPickles) {
  write_file(dir_ / "p-1.bin", pth_of("a"));
  write_file(dir_ / "pytorch_model.bin.index.json", R"({"weight_map": {"a": "p-1.bin"}})");
  EXPECT_EQ(open_tensor_file(dir_.path()).tensors.size(), 1u);
}

TEST_F(Shards, ComeAfterTheWholeFile) {
  write_file(dir_ / "model.safetensors", safetensors_of("whole", 1));
  write_index(R"({"a": "m-1.safetensors", "b": "m-2.safetensors"})");
  EXPECT_NE(open_tensor_file(dir_.path()).find("whole"), nullptr);
  write_index("no JSON");
  EXPECT_NE(open_tensor_file(dir_.path()).find("whole"), nullptr);
}

TEST_F(Shards, ComeBeforePickles) {
  write_file(dir_ / "pytorch_model.bin", pth_of("pickled"));
  write_index(R"({"a": "m-1.safetensors", "b": "m-2.safetensors"})");
  EXPECT_NE(open_tensor_file(dir_.path()).find("a"), nullptr);
  write_index(R"({"a": "m-1.safetensors", "b": "m-3.safetensors"})");
  EXPECT_NE(open_tensor_file(dir_.path()).find("pickled"), nullptr);
}

TEST_F(Shards, NamesStayInTheFolder) {
  for (const char* name :
       {"../m-1.safetensors", "/etc/passwd", "..", ".", "", "a/b", "a\\\\b", "a\\u0000b"}) {
    expect_index_error(R"({"a": ")"s + name + "\"}", {"index.json", "not that of a file"});
  }
  expect_index_error(R"({"a": 5})", {"'a'", "no file name"});
}

TEST_F(Shards, MustMatchTheIndex) {
  expect_index_error(R"({"a": "m-1.safetensors", "b": "m-3.safetensors"})",
                     {"1 of the 2 shards", "'m-3.safetensors'"});
  expect_index_error(R"({"a": "m-2.safetensors", "b": "m-1.safetensors"})",
                     {"tensor 'a' is in 'm-2.safetensors'"});
  expect_index_error(R"({"a": "m-1.safetensors", "c": "m-2.safetensors"})", {"tensor 'c'"});
  expect_index_error("{}", {"no weight_map"});
  expect_index_error("[]", {"no weight_map"});
  expect_index_error(R"({"a": "m-1.safetensors", "a": "m-2.safetensors"})", {"'a'", "twice"});
  write_file(dir_ / "m-2.safetensors", safetensors_of("a", 2));
  expect_index_error(R"({"a": "m-1.safetensors", "b": "m-2.safetensors"})",
                     {"'a' is in two shards", "m-1", "m-2"});
}

TEST_F(Shards, BrokenJson) {
  write_index(R"({"a": )");
  expect_open_error(dir_.path(), {"index.json", "not valid JSON"});
  write_index(R"({"a": "m-1.safetensors", "b": "m-2.safetensors"})");
  write_file(dir_ / "config.json", std::string(100'000, '['));
  expect_open_error(dir_.path(), {"config.json", "nested more than"});
  write_file(dir_ / "config.json", "[]");
  expect_open_error(dir_.path(), {"config.json", "expected a JSON object"});
}

}  // namespace
}  // namespace anser
