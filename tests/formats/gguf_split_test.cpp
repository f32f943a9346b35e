// Models in several GGUF files, as llama.cpp's gguf-split writes them.
#include "formats/gguf_split.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "formats/builders.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using builders::Gguf;
using builders::gguf_pair;
using builders::gguf_string;
using builders::raw;
using builders::raw_all;
using support::TempDir;

enum : uint32_t { kU16 = 2, kU32 = 4, kI32 = 5, kText = 8 };

std::string part_name(int number, int count) {
  char name[32];
  std::snprintf(name, sizeof(name), "m-%05d-of-%05d.gguf", number, count);
  return name;
}

class GgufSplit : public testing::Test {
 protected:
  // Part `number` of three; each has one tensor of two numbers.
  Gguf part(int number) {
    Gguf file;
    if (number == 1) {
      file.pairs = {gguf_pair("general.architecture", kText, gguf_string("rwkv7")),
                    gguf_pair("rwkv7.block_count", kU32, raw<uint32_t>(1))};
    }
    file.pairs.push_back(gguf_pair("split.no", kU16, raw(uint16_t(number - 1))));
    file.pairs.push_back(gguf_pair("split.count", kU16, raw<uint16_t>(3)));
    file.pairs.push_back(gguf_pair("split.tensors.count", kI32, raw<int32_t>(3)));
    file.tensors = {{"t" + std::to_string(number), {2}, 0, 0}};
    file.data = raw_all<float>({float(number), float(number) + 0.5f});
    return file;
  }
  void write(int number, const Gguf& file) {
    support::write_file(dir_ / part_name(number, 3), file.bytes());
  }
  void write_all() {
    for (int number : {1, 2, 3}) write(number, part(number));
  }
  std::string path(int number) { return dir_ / part_name(number, 3); }

  TempDir dir_;
};

TEST_F(GgufSplit, OpensFromAnyPartAndFromTheFolder) {
  write_all();
  const std::string folder = std::filesystem::path(path(1)).parent_path();
  for (const std::string& from : {path(1), path(2), path(3), folder}) {
    const TensorFile file = open_tensor_file(from);
    EXPECT_EQ(file.path, from);
    EXPECT_EQ(file.format, FileFormat::gguf);
    ASSERT_EQ(file.tensors.size(), 3u) << from;
    EXPECT_EQ(file.files.size(), 3u);
    for (int number : {1, 2, 3}) {
      const FileTensor* tensor = file.find("t" + std::to_string(number));
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(builders::elements<float>(*tensor),
                (std::vector<float>{float(number), float(number) + 0.5f}));
    }
    EXPECT_EQ(file.metadata.at("rwkv7.block_count"), MetaValue(int64_t{1}));
    EXPECT_EQ(file.metadata.count("split.count"), 0u);
    EXPECT_EQ(file.metadata.count("split.no"), 0u);
  }
}

TEST_F(GgufSplit, TheFirstPartMayHaveNoTensors) {
  Gguf first = part(1);
  first.tensors = {};
  first.data = "";
  write(1, first);
  Gguf second = part(2);
  second.tensors = {{"t2", {2}, 0, 0}, {"t1", {2}, 0, 32}};
  second.data = raw_all<float>({2, 2.5f, 0, 0, 0, 0, 0, 0, 1, 1.5f});
  write(2, second);
  write(3, part(3));
  EXPECT_EQ(builders::elements<float>(*open_tensor_file(path(3)).find("t1")),
            (std::vector<float>{1, 1.5f}));
}

TEST_F(GgufSplit, MissingPartsAreNamed) {
  write(2, part(2));
  support::expect_error({path(2), "2 of the 3 parts", part_name(1, 3), part_name(3, 3)},
                        [&] { open_tensor_file(path(2)); });
  const std::string folder = std::filesystem::path(path(1)).parent_path();
  support::expect_error({part_name(1, 3)}, [&] { open_tensor_file(folder); });
}

TEST_F(GgufSplit, ARenamedPartSaysWhatToDo) {
  support::write_file(dir_ / "model.gguf", part(2).bytes());
  support::expect_error({"model.gguf", "split into 3 files", "NAME-00002-of-00003.gguf"},
                        [&] { open_tensor_file(dir_ / "model.gguf"); });
}

TEST_F(GgufSplit, PartsThatDisagreeAreRefused) {
  const auto refused = [&](const std::vector<std::string>& words) {
    for (int from : {1, 2, 3}) {
      support::expect_error(words, [&] { open_tensor_file(path(from)); });
    }
    write_all();
  };
  write_all();
  write(2, part(3));  // the third part under the second's name
  refused({path(2), "split.no must be 1", "they are 2 and 3"});

  Gguf other = part(3);
  other.pairs[1] = gguf_pair("split.count", kU16, raw<uint16_t>(4));
  write(3, other);
  refused({path(3), "split.count 3", "they are 2 and 4"});

  other = part(3);
  other.pairs[2] = gguf_pair("split.tensors.count", kI32, raw<int32_t>(9));
  write(3, other);
  refused({path(3), "split.tensors.count is 9", "is 3", "different models"});

  other = part(2);
  other.pairs.clear();  // a whole file
  write(2, other);
  for (int from : {1, 3}) {
    support::expect_error({path(2), "absent"}, [&] { open_tensor_file(path(from)); });
  }
  write_all();

  other = part(2);
  other.tensors[0].name = "t1";
  write(2, other);
  refused({"'t1'", part_name(1, 3), part_name(2, 3)});

  other = part(3);
  other.tensors.clear();
  write(3, other);
  refused({"split with 3 tensors", "hold 2"});

  other = part(2);
  other.pairs.push_back(gguf_pair("general.architecture", kText, gguf_string("llama")));
  write(2, other);
  refused({path(2), "disagrees", "'general.architecture'"});

  support::write_file(path(2), "GGUX");
  for (int from : {1, 3}) {
    support::expect_error({path(2), "not a GGUF file"}, [&] { open_tensor_file(path(from)); });
  }
}

TEST_F(GgufSplit, NonsenseAboutPartsIsRefused) {
  Gguf file = part(1);
  file.pairs[3] = gguf_pair("split.count", kText, gguf_string("three"));
  write(1, file);
  support::expect_error({path(1), "split.count"}, [&] { open_tensor_file(path(1)); });
  file.pairs[3] = gguf_pair("split.count", kU32, raw<uint32_t>(4'000'000'000));
  write(1, file);
  support::expect_error({path(1), "4000000000"}, [&] { open_tensor_file(path(1)); });
  // One part of one is a whole file, whatever its name.
  file.pairs[3] = gguf_pair("split.count", kU16, raw<uint16_t>(1));
  support::write_file(dir_ / "whole.gguf", file.bytes());
  EXPECT_EQ(open_tensor_file(dir_ / "whole.gguf").tensors.size(), 1u);
}

TEST_F(GgufSplit, TwoModelsInAFolderAreNotTakenForOne) {
  write_all();
  support::write_file(dir_ / "n-00001-of-00003.gguf", part(1).bytes());
  const std::string folder = std::filesystem::path(path(1)).parent_path();
  support::expect_error({"4 model files"}, [&] { open_tensor_file(folder); });
}

}  // namespace
}  // namespace anser
