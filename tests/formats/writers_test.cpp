// The writers of GGUF and safetensors against bytes put together by hand, and against the readers.
#include <gtest/gtest.h>

#include <filesystem>

#include "formats/builders.h"
#include "formats/gguf_writer.h"
#include "formats/safetensors_writer.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using builders::as_bytes;
using builders::raw;
using support::read_file;
using support::TempDir;

// Two tensors, of 12 and 34 bytes.
const std::string kFirst = builders::raw_all<float>({1, 2, 3});
const std::string kSecond(34, 'q');

void state_and_write(GgufWriter& file, size_t piece) {
  file.text("a.text", "x\ny");
  file.number("a.number", 7);
  file.real("a.real", 0.5f);
  file.flag("a.flag", true);
  file.texts("a.texts", std::vector<std::string>{"", "two"});
  file.numbers("a.numbers", std::vector<int32_t>{-1, 5});
  file.tensor("first", DType::f32, std::vector<int64_t>{1, 3});
  file.tensor("second", DType::q8_0, std::vector<int64_t>{1, 32});
  for (const std::string& data : {kFirst, kSecond}) {
    for (size_t at = 0; at < data.size(); at += piece) {
      file.data(as_bytes(data).subspan(at, std::min(piece, data.size() - at)));
    }
  }
}

TEST(GgufWriter, WritesTheseBytes) {
  builders::Gguf expected;
  expected.pairs = {
      builders::gguf_pair("a.text", 8, builders::gguf_string("x\ny")),
      builders::gguf_pair("a.number", 4, raw<uint32_t>(7)),
      builders::gguf_pair("a.real", 6, raw<float>(0.5f)),
      builders::gguf_pair("a.flag", 7, raw<uint8_t>(1)),
      builders::gguf_pair(
          "a.texts", 9,
          builders::gguf_array(8, 2, builders::gguf_string("") + builders::gguf_string("two"))),
      builders::gguf_pair("a.numbers", 9,
                          builders::gguf_array(5, 2, builders::raw_all<int32_t>({-1, 5})))};
  expected.tensors = {{"first", {3, 1}, 0, 0}, {"second", {32, 1}, 8, 32}};
  expected.data = kFirst + std::string(20, '\0') + kSecond + std::string(30, '\0');
  const TempDir dir;
  for (const size_t piece : {1, 5, 100}) {
    GgufWriter file(dir / "f.gguf");
    state_and_write(file, piece);
    file.finish();
    EXPECT_EQ(read_file(dir / "f.gguf"), expected.bytes());
  }
}

TEST(GgufWriter, EveryTypeReadsBackAsItself) {
  const TempDir dir;
  GgufWriter file(dir / "f.gguf");
  for (int type = 0; type < kMatrixTypes; ++type) {
    file.tensor(dtype_name(DType(type)), DType(type), std::vector<int64_t>{2, 256});
  }
  for (int type = 0; type < kMatrixTypes; ++type) {
    file.data(as_bytes(std::string(dtype_bytes(DType(type), 512), char('a' + type))));
  }
  file.finish();
  const TensorFile read = open_tensor_file(dir / "f.gguf");
  ASSERT_EQ(int(read.tensors.size()), kMatrixTypes);
  for (int type = 0; type < kMatrixTypes; ++type) {
    const FileTensor& tensor = read.tensors[size_t(type)];
    EXPECT_EQ(tensor.type, DType(type));
    EXPECT_EQ(tensor.name, dtype_name(DType(type)));
    EXPECT_EQ(tensor.shape, (std::vector<int64_t>{2, 256}));
    EXPECT_EQ(char(tensor.bytes.front()), 'a' + type);
    EXPECT_EQ(char(tensor.bytes.back()), 'a' + type);
  }
}

TEST(GgufWriter, LeavesNothingUnfinished) {
  const TempDir dir;
  {
    GgufWriter file(dir / "f.gguf");
    state_and_write(file, 100);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(SafetensorsWriter, WritesTheseBytes) {
  const TempDir dir;
  SafetensorsWriter file(dir / "f.safetensors");
  file.tensor("z", DType::f32, {3});
  file.tensor("a.b", DType::bf16, {1, 2});
  file.data(as_bytes(kFirst + "1"));
  file.data(as_bytes("234"));
  file.finish();
  std::string header = R"({"z":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
                       R"("a.b":{"dtype":"BF16","shape":[1,2],"data_offsets":[12,16]}})";
  while (header.size() % 8 != 0) header += ' ';
  EXPECT_EQ(read_file(dir / "f.safetensors"), builders::safetensors(header, kFirst + "1234"));

  const TensorFile read = open_tensor_file(dir / "f.safetensors");
  ASSERT_EQ(read.tensors.size(), 2u);
  EXPECT_EQ(builders::elements<float>(read.tensors[0]), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(read.tensors[1].type, DType::bf16);
}

TEST(SafetensorsWriter, LeavesNothingUnfinished) {
  const TempDir dir;
  {
    SafetensorsWriter file(dir / "f.safetensors");
    file.tensor("z", DType::f32, {3});
    file.data(as_bytes(kFirst));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace anser
