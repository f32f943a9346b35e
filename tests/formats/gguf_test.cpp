#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "formats/builders.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using builders::as_bytes;
using builders::expect_error;
using builders::Gguf;
using builders::gguf_array;
using builders::gguf_pair;
using builders::gguf_string;
using builders::raw;
using builders::raw_all;

// Numbers of the value types as they stand in files.
enum : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kText, kArray, kU64, kI64, kF64 };

Gguf good_file() {
  Gguf file;
  file.pairs = {
      gguf_pair("general.architecture", kText, gguf_string("rwkv7")),
      gguf_pair("rwkv7.block_count", kU32, raw<uint32_t>(2)),
      gguf_pair("tokens", kArray, gguf_array(kText, 2, gguf_string("<s>") + gguf_string("\\x00")))};
  file.tensors = {{"token_embd.weight", {3, 2}, 0, 0}, {"h", {2}, 1, 32}};
  file.data = raw_all<float>({1, 2, 3, 4, 5, 6}) + std::string(8, '\0') +
              raw_all<uint16_t>({0x3c00, 0x4000});
  return file;
}

TensorFile parse(const std::string& bytes) {
  return parse_gguf(as_bytes(bytes), "file");
}

TEST(Gguf, TurnsDimensionsRound) {
  const std::string bytes = good_file().bytes();
  const TensorFile file = parse(bytes);
  EXPECT_EQ(file.format, FileFormat::gguf);
  ASSERT_EQ(file.tensors.size(), 2u);
  const FileTensor& table = file.tensors[0];
  EXPECT_EQ(table.name, "token_embd.weight");
  EXPECT_EQ(table.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(table.strides, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(builders::elements<float>(table), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(file.tensors[1].type, DType::f16);
  EXPECT_EQ(builders::elements<uint16_t>(file.tensors[1]), (std::vector<uint16_t>{0x3c00, 0x4000}));
}

TEST(Gguf, Version2) {
  Gguf file = good_file();
  file.version = 2;
  const std::string bytes = file.bytes();
  EXPECT_EQ(parse(bytes).tensors.size(), 2u);
}

TEST(Gguf, MetadataOfEveryType) {
  Gguf file;
  file.pairs = {
      gguf_pair("u8", kU8, raw<uint8_t>(200)),
      gguf_pair("i8", kI8, raw<int8_t>(-3)),
      gguf_pair("u16", kU16, raw<uint16_t>(60000)),
      gguf_pair("i16", kI16, raw<int16_t>(-300)),
      gguf_pair("u32", kU32, raw<uint32_t>(4'000'000'000)),
      gguf_pair("i32", kI32, raw<int32_t>(-70000)),
      gguf_pair("f32", kF32, raw(0.5f)),
      gguf_pair("bool", kBool, raw<uint8_t>(1)),
      gguf_pair("text", kText, gguf_string("goose")),
      gguf_pair("u64", kU64, raw<uint64_t>(1) + ""),
      gguf_pair("huge", kU64, raw<uint64_t>(uint64_t{1} << 63)),
      gguf_pair("i64", kI64, raw<int64_t>(-1)),
      gguf_pair("f64", kF64, raw(1e-5)),
      gguf_pair("numbers", kArray, gguf_array(kI16, 2, raw_all<int16_t>({-1, 2}))),
      gguf_pair("bits", kArray, gguf_array(kBool, 2, raw_all<uint8_t>({0, 1}))),
      gguf_pair("reals", kArray, gguf_array(kF32, 1, raw(0.25f))),
      gguf_pair("empty", kArray, gguf_array(kText, 0, "")),
      gguf_pair("lists", kArray, gguf_array(kArray, 1, gguf_array(kU8, 2, "ab"))),
      gguf_pair("last", kU8, raw<uint8_t>(7)),
  };
  const std::string bytes = file.bytes();
  const auto metadata = parse(bytes).metadata;
  EXPECT_EQ(metadata.at("u8"), MetaValue(int64_t{200}));
  EXPECT_EQ(metadata.at("i8"), MetaValue(int64_t{-3}));
  EXPECT_EQ(metadata.at("u16"), MetaValue(int64_t{60000}));
  EXPECT_EQ(metadata.at("i16"), MetaValue(int64_t{-300}));
  EXPECT_EQ(metadata.at("u32"), MetaValue(int64_t{4'000'000'000}));
  EXPECT_EQ(metadata.at("i32"), MetaValue(int64_t{-70000}));
  EXPECT_EQ(metadata.at("f32"), MetaValue(0.5));
  EXPECT_EQ(metadata.at("bool"), MetaValue(true));
  EXPECT_EQ(metadata.at("text"), MetaValue(std::string("goose")));
  EXPECT_EQ(metadata.at("u64"), MetaValue(int64_t{1}));
  EXPECT_EQ(metadata.at("huge"), MetaValue(std::ldexp(1.0, 63)));
  EXPECT_EQ(metadata.at("i64"), MetaValue(int64_t{-1}));
  EXPECT_EQ(metadata.at("f64"), MetaValue(1e-5));
  EXPECT_EQ(metadata.at("numbers"), MetaValue(std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(metadata.at("bits"), MetaValue(std::vector<int64_t>{0, 1}));
  EXPECT_EQ(metadata.at("reals"), MetaValue(std::vector<double>{0.25}));
  EXPECT_EQ(metadata.at("empty"), MetaValue(std::vector<std::string>{}));
  EXPECT_EQ(metadata.count("lists"), 0u);  // read over, and what follows is still found:
  EXPECT_EQ(metadata.at("last"), MetaValue(int64_t{7}));
}

TEST(Gguf, EveryTensorType) {
  struct Case {
    uint32_t id;
    DType type;
    uint64_t row;
    size_t bytes;  // of the row
  };
  const Case cases[] = {
      {0, DType::f32, 3, 12},      {1, DType::f16, 3, 6},         {30, DType::bf16, 3, 6},
      {2, DType::q4_0, 32, 18},    {3, DType::q4_1, 32, 20},      {6, DType::q5_0, 32, 22},
      {7, DType::q5_1, 32, 24},    {8, DType::q8_0, 64, 68},      {12, DType::q4_k, 256, 144},
      {13, DType::q5_k, 256, 176}, {14, DType::q6_k, 256, 210},   {24, DType::i8, 3, 3},
      {25, DType::i16, 3, 6},      {26, DType::i32, 3, 12},       {27, DType::i64, 3, 24},
      {28, DType::f64, 3, 24},     {10, DType::q2_k, 256, 84},    {11, DType::q3_k, 256, 110},
      {20, DType::iq4_nl, 32, 18}, {23, DType::iq4_xs, 256, 136},
  };
  for (const Case& c : cases) {
    Gguf file;
    file.tensors = {{"a", {c.row, 2}, c.id, 0}};
    file.data = std::string(2 * c.bytes, 'x');
    const std::string bytes = file.bytes();
    const TensorFile parsed = parse(bytes);
    EXPECT_EQ(parsed.tensors[0].type, c.type) << c.id;
    EXPECT_EQ(parsed.tensors[0].bytes.size(), 2 * c.bytes) << c.id;
    if (c.bytes > 0) {
      file.data.pop_back();
      expect_error(parse_gguf, file.bytes(), {"'a'", "does not lie within"});
    }
  }
}

// Types that are not read keep their name, for the error of whoever needs the tensor.
TEST(Gguf, OtherTensorTypesAreNamed) {
  const std::pair<uint32_t, const char*> cases[] = {
      {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
      {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {29, "IQ1_M"},  {31, "Q4_0_4_4"},
      {34, "TQ1_0"}, {35, "TQ2_0"}, {39, "MXFP4"},   {40, "NVFP4"},  {1000, "number 1000 of ggml"}};
  for (const auto& [id, name] : cases) {
    Gguf file;
    file.tensors = {{"a", {256}, id, 0}};
    const std::string bytes = file.bytes();
    const FileTensor tensor = parse(bytes).tensors[0];
    EXPECT_EQ(tensor.type, DType::unsupported);
    EXPECT_EQ(tensor.type_name(), name);
    EXPECT_TRUE(tensor.bytes.empty());
  }
}

// Metadata is copied, so a small file with a hole in it must not ask for all memory.
TEST(Gguf, MetadataIsBounded) {
  const support::TempDir dir;
  const auto expect = [&](const std::string& bytes, const std::vector<std::string>& words) {
    support::write_file(dir / "m", bytes);
    std::filesystem::resize_file(dir / "m", uint64_t{1} << 30);
    const auto mapped = MappedFile::open(dir / "m");
    support::expect_error(words, [&] { parse_gguf(mapped->bytes(), "file"); });
  };
  const uint64_t huge = uint64_t{1} << 29;
  Gguf file;
  file.pairs = {gguf_pair("a", kArray, gguf_array(kU8, huge, ""))};
  expect(file.bytes(), {"metadata", "268435456"});
  file.pairs = {gguf_pair("a", kText, raw(huge))};
  expect(file.bytes(), {"metadata", "268435456"});
  expect("GGUF" + raw<uint32_t>(3) + raw<uint64_t>(1'000'000) + raw<uint64_t>(0),
         {"1000000 tensors", "200000"});
}

TEST(Gguf, RowsMustBeWholeBlocks) {
  Gguf file;
  file.tensors = {{"a", {16, 16}, 12, 0}};  // 256 elements, but no row of 256
  file.data = std::string(144, '\0');
  expect_error(parse_gguf, file.bytes(), {"'a'", "Q4_K", "rows of 16", "multiple of 256"});
}

TEST(Gguf, Alignment) {
  Gguf file = good_file();
  file.alignment = 64;
  file.pairs.push_back(gguf_pair("general.alignment", kU32, raw<uint32_t>(64)));
  file.tensors[1].offset = 64;
  file.data.insert(32, std::string(32, '\0'));
  const std::string bytes = file.bytes();
  EXPECT_EQ(builders::elements<uint16_t>(parse(bytes).tensors[1]),
            (std::vector<uint16_t>{0x3c00, 0x4000}));
  file.tensors[1].offset = 32;
  expect_error(parse_gguf, file.bytes(), {"'h'", "multiple of 64"});
  for (const uint32_t bad : {0u, 3u, 1u << 21}) {
    file.pairs.back() = gguf_pair("general.alignment", kU32, raw(bad));
    expect_error(parse_gguf, file.bytes(), {"general.alignment", "power of two"});
  }
}

TEST(Gguf, WrongPlaces) {
  Gguf file = good_file();
  file.tensors[1].offset = 0;
  expect_error(parse_gguf, file.bytes(), {"'token_embd.weight'", "'h'", "overlap"});
  file.tensors[1].offset = uint64_t(-32);
  expect_error(parse_gguf, file.bytes(), {"'h'", "does not lie within"});
  file = good_file();
  file.tensors[1].name = file.tensors[0].name;
  expect_error(parse_gguf, file.bytes(), {"two tensors have the name 'token_embd.weight'"});
}

TEST(Gguf, AbsurdShapes) {
  Gguf file;
  const auto with = [&](std::vector<uint64_t> dims) {
    file.tensors = {{"a", std::move(dims), 0, 0}};
    return file.bytes();
  };
  expect_error(parse_gguf, with({uint64_t{1} << 63}), {"'a'", "more than any file"});
  expect_error(parse_gguf, with({1u << 31, 1u << 31, 4}), {"'a'", "more elements than any file"});
  expect_error(parse_gguf, with({1, 1, 1, 1, 1, 1, 1, 1, 1}), {"9 dimensions", "at most 8"});
  expect_error(parse_gguf, with(std::vector<uint64_t>(1000, 1)), {"1000 dimensions"});
}

TEST(Gguf, CountsAreBoundedByTheFile) {
  const auto head = [](uint64_t tensors, uint64_t pairs) {
    return "GGUF" + raw<uint32_t>(3) + raw(tensors) + raw(pairs) + std::string(64, '\0');
  };
  const uint64_t huge = ~uint64_t{0} / 2;
  expect_error(parse_gguf, head(huge, 0), {"tensors", "cannot stand"});
  expect_error(parse_gguf, head(0, huge), {"key-values", "cannot stand"});
  Gguf file;
  for (const uint32_t type : {kU8, kF64, kText, kArray}) {
    file.pairs = {gguf_pair("a", kArray, gguf_array(type, huge, std::string(64, '\0')))};
    expect_error(parse_gguf, file.bytes(), {"array elements", "cannot stand"});
  }
  file.pairs = {gguf_pair("a", kText, raw(huge))};
  expect_error(parse_gguf, file.bytes(), {"cut off"});
  std::string nested;
  for (int i = 0; i < 1000; ++i) nested += gguf_array(kArray, 1, "");
  file.pairs = {gguf_pair("a", kArray, nested)};
  expect_error(parse_gguf, file.bytes(), {"nested too deeply"});
}

TEST(Gguf, WrongHeads) {
  expect_error(parse_gguf, "GGUX" + std::string(20, '\0'), {"not a GGUF file"});
  Gguf file = good_file();
  file.version = 1;
  expect_error(parse_gguf, file.bytes(), {"version 1", "expected 2 or 3"});
  file.version = 3u << 24;
  expect_error(parse_gguf, file.bytes(), {"big-endian"});
  file = good_file();
  file.pairs.push_back(file.pairs[0]);
  expect_error(parse_gguf, file.bytes(), {"'general.architecture'", "twice"});
  file.pairs = {gguf_pair("a", 13, "")};
  expect_error(parse_gguf, file.bytes(), {"value type 13"});
  file.pairs = {gguf_pair("\xc3", kU8, "x")};
  expect_error(parse_gguf, file.bytes(), {"key '\\xc3'"});
  file.pairs = {};
  file.tensors[0].name = "\xed\xa0\x80";  // a surrogate
  expect_error(parse_gguf, file.bytes(), {"not UTF-8"});
}

TEST(Gguf, DamagedFilesNeverCrash) {
  EXPECT_EQ(builders::parse_damaged(parse_gguf, good_file().bytes()), 0);
}

}  // namespace
}  // namespace anser
