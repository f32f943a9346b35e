#include <fmt/format.h>
#include <gtest/gtest.h>

#include "formats/builders.h"

namespace anser {
namespace {

using builders::as_bytes;
using builders::expect_error;
using builders::safetensors;

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return fmt::format(R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape,
                     offsets);
}

std::string good_file() {
  return safetensors(R"({"__metadata__":{"format":"pt"},)"
                     R"("z":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                     R"("a.weight":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})",
                     builders::raw_all<float>({1, 2, 3, 4, 5, 6}) +
                         builders::raw_all<uint16_t>({0x3f80, 0x4000, 0x4040, 0x4080}));
}

TEST(Safetensors, ReadsNamesTypesShapesAndBytes) {
  const std::string bytes = good_file();
  const TensorFile file = parse_safetensors(as_bytes(bytes), "file");
  EXPECT_EQ(file.format, FileFormat::safetensors);
  ASSERT_EQ(file.tensors.size(), 2u);
  const FileTensor& z = file.tensors[0];  // in the order of the data
  EXPECT_EQ(z.name, "z");
  EXPECT_EQ(z.type, DType::f32);
  EXPECT_EQ(z.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(z.strides, (std::vector<int64_t>{3, 1}));
  EXPECT_TRUE(z.contiguous());
  EXPECT_EQ(z.shape_text(), "[2, 3]");
  EXPECT_EQ(builders::elements<float>(z), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  const FileTensor* a = file.find("a.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->type, DType::bf16);
  EXPECT_EQ(builders::elements<uint16_t>(*a),
            (std::vector<uint16_t>{0x3f80, 0x4000, 0x4040, 0x4080}));
  EXPECT_EQ(file.find("b"), nullptr);
  EXPECT_EQ(file.metadata.at("format"), MetaValue("pt"));
}

TEST(Safetensors, ScalarsAndEmptyTensors) {
  const std::string bytes =
      safetensors(R"({"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
                  R"("none":{"dtype":"F32","shape":[0,7],"data_offsets":[8,8]}}   )",
                  std::string(8, '\0'));
  const TensorFile file = parse_safetensors(as_bytes(bytes), "file");
  EXPECT_EQ(file.find("s")->elements(), 1);
  EXPECT_EQ(file.find("s")->bytes.size(), 8u);
  EXPECT_EQ(file.find("none")->elements(), 0);
  EXPECT_TRUE(file.find("none")->bytes.empty());
}

TEST(Safetensors, UnknownTypesAreThereWithoutBytes) {
  const std::string bytes = safetensors(one("F8_E4M3", "[4]", "[0,4]"), "abcd");
  const TensorFile file = parse_safetensors(as_bytes(bytes), "file");
  EXPECT_EQ(file.find("a")->type, DType::unsupported);
  EXPECT_EQ(file.find("a")->type_name(), "F8_E4M3");
  EXPECT_TRUE(file.find("a")->bytes.empty());
}

TEST(Safetensors, IgnoresFieldsOfOthers) {
  const std::string bytes = safetensors(
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"note":[{"x":null}]}})", "\1");
  EXPECT_EQ(parse_safetensors(as_bytes(bytes), "file").tensors.size(), 1u);
}

TEST(Safetensors, WrongPlaces) {
  const auto with = [](const char* shape, const char* offsets) {
    return safetensors(one("F32", shape, offsets), std::string(16, '\0'));
  };
  expect_error(parse_safetensors, with("[4]", "[4,20]"), {"'a'", "4 to 20", "only 16"});
  expect_error(parse_safetensors, with("[4]", "[0,12]"), {"'a'", "takes 16 bytes", "span 12"});
  expect_error(parse_safetensors, with("[4]", "[16,0]"), {"'a'", "[begin, end]"});
  expect_error(parse_safetensors, with("[4]", "[0]"), {"'a'", "[begin, end]"});
  expect_error(parse_safetensors, with("[4]", "[0,16,32]"), {"'a'", "3 numbers"});
  expect_error(parse_safetensors, with("[4]", "[0,18446744073709551615]"), {"only 16"});
  expect_error(parse_safetensors, with("[4]", "[-1,16]"), {"whole numbers"});
  expect_error(parse_safetensors, with("[4]", "\"0,16\""), {"data_offsets"});
}

TEST(Safetensors, AbsurdShapes) {
  const auto with = [](const std::string& shape) {
    return safetensors(one("F32", shape, "[0,4]"), std::string(4, '\0'));
  };
  // 2^32 * 2^32 wraps to 0 in 64 bits.
  expect_error(parse_safetensors, with("[4294967296,4294967296]"), {"'a'", "more elements than"});
  expect_error(parse_safetensors, with("[4294967296,4294967296,0]"), {"more elements than"});
  expect_error(parse_safetensors, with("[18446744073709551615]"), {"more than any file"});
  expect_error(parse_safetensors, with("[1,1,1,1,1,1,1,1,1]"), {"9 numbers", "at most 8"});
  expect_error(parse_safetensors, with("[-1]"), {"whole numbers"});
  expect_error(parse_safetensors, with("[1.5]"), {"whole numbers"});
  expect_error(parse_safetensors, with("[[1]]"), {"whole numbers"});
  expect_error(parse_safetensors, with("{}"), {"shape"});
}

TEST(Safetensors, OverlapIsAnError) {
  expect_error(parse_safetensors,
               safetensors(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                           R"("b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
                           "1234567"),
               {"'a'", "'b'", "overlap"});
  // Also with a tensor of a type we do not read.
  expect_error(parse_safetensors,
               safetensors(R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,4]},)"
                           R"("b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
                           "1234567"),
               {"overlap"});
}

TEST(Safetensors, BrokenHeaders) {
  expect_error(parse_safetensors, safetensors(R"({"a":)", ""), {"not valid JSON"});
  expect_error(parse_safetensors, safetensors("[]", ""), {"not a JSON object"});
  expect_error(parse_safetensors, safetensors(R"({"a":1})", ""), {"'a'", "dtype"});
  expect_error(parse_safetensors, safetensors(R"({"a":{"dtype":"F32"}})", ""), {"'a'", "shape"});
  expect_error(parse_safetensors, safetensors("{\"\xff\":{}}", ""), {"not valid JSON"});
  expect_error(parse_safetensors,
               safetensors(R"({"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", ""),
               {"empty name"});
  expect_error(parse_safetensors,
               safetensors(fmt::format(R"({{"{}":{{}}}})", std::string(1000, 'n')), ""),
               {"1000 bytes"});
  const std::string entry = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expect_error(parse_safetensors, safetensors("{" + entry + "," + entry + "}", "\1"),
               {"'a'", "twice"});
}

TEST(Safetensors, HostileHeadersCostNothing) {
  for (const size_t depth : {100u, 1'000'000u}) {
    expect_error(parse_safetensors, safetensors("{\"a\":" + std::string(depth, '['), ""),
                 {"nested more than"});
  }
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
  expect_error(parse_safetensors, safetensors(objects, ""), {"nested more than"});
  // Time that grows with the square of the number of lists would be minutes here.
  std::string wide = "{\"a\":{\"x\":[{}";
  for (int i = 0; i < 500'000; ++i) wide += ",{}";
  expect_error(parse_safetensors, safetensors(wide + "]}}", ""), {"'a'", "dtype"});
  // Escape sequences in a name must not reach the terminal.
  const std::string text =
      builders::error_of(parse_safetensors, safetensors(R"({"\u001b[31m":{"dtype":"U8"}})", ""));
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
}

TEST(Safetensors, HeaderLength) {
  expect_error(parse_safetensors, "1234567", {"cut off", "length"});
  expect_error(parse_safetensors, builders::raw<uint64_t>(100) + "{}", {"cut off", "100 bytes"});
  expect_error(parse_safetensors, builders::raw<uint64_t>(100'000'001) + "{}",
               {"100000001", "at most"});
  expect_error(parse_safetensors, builders::raw<uint64_t>(~uint64_t{0}) + "{}", {"at most"});
}

TEST(Safetensors, DamagedFilesNeverCrash) {
  // A tensor needs every byte of this file, so no shorter one is right.
  EXPECT_EQ(builders::parse_damaged(parse_safetensors, good_file()), 0);
}

}  // namespace
}  // namespace anser
