#include <gtest/gtest.h>

#include "formats/builders.h"

namespace anser {
namespace {

using namespace builders;

TensorFile parse(const std::string& bytes) {
  return parse_pth(as_bytes(bytes), "file");
}

const std::string kSix = raw_all<float>({0, 1, 2, 3, 4, 5});

// `tensor` under the name "a", with one storage "0" of six floats.
std::string file_with(const std::string& tensor) {
  return pth(pickle(pickle_dict({{"a", tensor}})), {{"0", kSix}});
}

std::string floats() {
  return pickle_storage("torch\nFloatStorage", "0", 6);
}

std::string good_file() {
  const std::string bf16 = pickle_storage("torch\nBFloat16Storage", "1", 4, "cuda:0");
  return pth(pickle(pickle_dict({{"emb.weight", pickle_tensor(floats(), 0, {2, 3}, {3, 1})},
                                 {"b", pickle_tensor(bf16, 0, {1, 1, 4}, {4, 4, 1})}})),
             {{"0", kSix}, {"1", raw_all<uint16_t>({1, 2, 3, 4})}});
}

TEST(Pth, ReadsWhatTorchSaves) {
  const std::string bytes = good_file();
  const TensorFile file = parse(bytes);
  EXPECT_EQ(file.format, FileFormat::pth);
  ASSERT_EQ(file.tensors.size(), 2u);
  const FileTensor& table = file.tensors[0];
  EXPECT_EQ(table.name, "emb.weight");
  EXPECT_EQ(table.type, DType::f32);
  EXPECT_EQ(table.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_TRUE(table.contiguous());
  EXPECT_EQ(elements<float>(table), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(file.tensors[1].type, DType::bf16);
  EXPECT_EQ(elements<uint16_t>(file.tensors[1]), (std::vector<uint16_t>{1, 2, 3, 4}));
}

// The very bytes of torch 2.x: torch.save({'w': torch.tensor([[1., 2.]])}, ...), data.pkl, with the
// memo writes that the builders leave out.
TEST(Pth, PickleOfTorchItself) {
  using namespace std::string_literals;
  const std::string pickled =
      "\x80\x02}q\0X\1\0\0\0wq\1ctorch._utils\n_rebuild_tensor_v2\nq\2((X\7\0\0\0storageq\3ctorch\n"
      "FloatStorage\nq\4X\1\0\0\0"
      "0q\5X\3\0\0\0cpuq\6K\2tq\7QK\0K\1K\2\x86q\x08K\2K\1\x86q\t\x89"
      "ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rs."s;
  ASSERT_EQ(pickled.size(), 166u);
  const std::string bytes = pth(pickled, {{"0", raw_all<float>({1, 2})}});
  EXPECT_EQ(elements<float>(*parse(bytes).find("w")), (std::vector<float>{1, 2}));
}

TEST(Pth, StridesAndSharedStorages) {
  const std::string bytes =
      pth(pickle(pickle_dict({{"t", pickle_tensor(floats(), 0, {3, 2}, {1, 3})},
                              {"row", pickle_tensor(floats(), 3, {3}, {1})},
                              {"column", pickle_tensor(floats(), 1, {2}, {3})},
                              {"scalar", pickle_tensor(floats(), 5, {}, {})},
                              {"none", pickle_tensor(floats(), 0, {0, 3}, {3, 1})},
                              {"spread", pickle_tensor(floats(), 2, {4}, {0})},
                              {"ones", pickle_tensor(floats(), 0, {1, 6}, {77, 1})}})),
          {{"0", kSix}});
  const TensorFile file = parse(bytes);
  const FileTensor& t = *file.find("t");
  EXPECT_FALSE(t.contiguous());
  EXPECT_EQ(t.strides, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(elements<float>(t), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(elements<float>(*file.find("row")), (std::vector<float>{3, 4, 5}));
  EXPECT_TRUE(file.find("row")->contiguous());
  const FileTensor& column = *file.find("column");
  EXPECT_EQ(elements<float>(column), (std::vector<float>{1, 4}));
  EXPECT_EQ(column.bytes.size(), 4 * sizeof(float));  // from its first to its last
  EXPECT_EQ(elements<float>(*file.find("scalar")), (std::vector<float>{5}));
  EXPECT_TRUE(file.find("none")->bytes.empty());
  EXPECT_EQ(elements<float>(*file.find("spread")), (std::vector<float>{2, 2, 2, 2}));
  EXPECT_FALSE(file.find("spread")->contiguous());
  EXPECT_TRUE(file.find("ones")->contiguous());
}

TEST(Pth, EveryStorageType) {
  const std::pair<const char*, DType> types[] = {
      {"BFloat16", DType::bf16}, {"Half", DType::f16}, {"Float", DType::f32},
      {"Double", DType::f64},    {"Long", DType::i64}, {"Int", DType::i32},
      {"Short", DType::i16},     {"Char", DType::i8},  {"Byte", DType::u8},
      {"Bool", DType::boolean}};
  for (const auto& [name, type] : types) {
    const std::string storage = pickle_storage("torch\n" + std::string(name) + "Storage", "0", 3);
    const std::string bytes = pth(pickle(pickle_dict({{"a", pickle_tensor(storage, 1, {2}, {1})}})),
                                  {{"0", std::string(dtype_bytes(type, 3), 'x')}});
    const TensorFile file = parse(bytes);
    EXPECT_EQ(file.tensors[0].type, type) << name;
    EXPECT_EQ(file.tensors[0].bytes.size(), dtype_bytes(type, 2)) << name;
  }
}

TEST(Pth, UntypedStorage) {
  const auto with_type = [](const char* type) {
    return file_with("ctorch._utils\n_rebuild_tensor_v3\n(" +
                     pickle_storage("torch.storage\nUntypedStorage", "0", 24) + "K" +
                     std::string(1, '\1') + pickle_tuple({2}) + pickle_tuple({1}) +
                     "\x89}ctorch\n" + type + "\n}tR");
  };
  const std::string bytes = with_type("float32");
  EXPECT_EQ(elements<float>(*parse(bytes).find("a")), (std::vector<float>{1, 2}));
  const std::string other = with_type("float8_e5m2");
  EXPECT_EQ(parse(other).find("a")->type, DType::unsupported);
  EXPECT_EQ(parse(other).find("a")->type_name(), "float8_e5m2");
}

TEST(Pth, Parameters) {
  const std::string bytes =
      file_with("ctorch._utils\n_rebuild_parameter\n(" + pickle_tensor(floats(), 0, {6}, {1}) +
                "\x88"
                "ccollections\nOrderedDict\n)RtR");
  EXPECT_EQ(parse(bytes).find("a")->elements(), 6);
}

TEST(Pth, WrappersAndNestedDicts) {
  const std::string tensor = pickle_tensor(floats(), 0, {6}, {1});
  const std::string inner = pickle_dict({{"a", tensor}});
  for (const char* wrapper : {"state_dict", "model", "module"}) {
    const std::string bytes =
        pth(pickle(pickle_dict({{"epoch", pickle_int(3)}, {wrapper, inner}, {"optimizer", inner}})),
            {{"0", kSix}});
    const TensorFile file = parse(bytes);
    ASSERT_EQ(file.tensors.size(), 1u) << wrapper;
    EXPECT_EQ(file.tensors[0].name, "a");
  }
  // Not a wrapper: tensors stand beside it.
  std::string bytes = pth(pickle(pickle_dict({{"model", inner}, {"b", tensor}})), {{"0", kSix}});
  EXPECT_NE(parse(bytes).find("model.a"), nullptr);
  EXPECT_NE(parse(bytes).find("b"), nullptr);
  bytes = pth(pickle(pickle_dict({{"x", pickle_dict({{"y", inner}})}})), {{"0", kSix}});
  EXPECT_NE(parse(bytes).find("x.y.a"), nullptr);
}

TEST(Pth, AttributesAndPlainValuesAreOfNoInterest) {
  const std::string dict = pickle_dict({{"a", pickle_tensor(floats(), 0, {6}, {1})},
                                        {"list", "](K\1G????????Ne"},
                                        {"flags", "\x88\x89\x86"}});
  const std::string bytes =
      pth(pickle(dict + "}" + pickle_text("_metadata") + pickle_dict({}) + "sb"), {{"0", kSix}});
  EXPECT_EQ(parse(bytes).tensors.size(), 1u);
}

TEST(Pth, AnyRootName) {
  const std::string pickled = pickle(pickle_dict({{"a", pickle_tensor(floats(), 0, {6}, {1})}}));
  for (const std::string root : {"", "archive/", "some/where/else/"}) {
    const std::string bytes = zip({{root + "data.pkl", pickled}, {root + "data/0", kSix}});
    EXPECT_EQ(parse(bytes).tensors.size(), 1u) << root;
  }
}

TEST(Pth, Zip64) {
  const std::string pickled = pickle(pickle_dict({{"a", pickle_tensor(floats(), 0, {6}, {1})}}));
  ZipFile storage{"m/data/0", kSix};
  storage.zip64 = true;
  const std::string bytes = zip({{"m/data.pkl", pickled}, storage}, true);
  EXPECT_EQ(elements<float>(parse(bytes).tensors[0]), (std::vector<float>{0, 1, 2, 3, 4, 5}));
}

TEST(Pth, TensorsOutsideTheirStorage) {
  const auto error = [](int64_t offset, const std::vector<int64_t>& shape,
                        const std::vector<int64_t>& strides,
                        const std::vector<std::string>& words) {
    expect_error(parse_pth, file_with(pickle_tensor(floats(), offset, shape, strides)), words);
  };
  error(1, {6}, {1}, {"'a'", "element 1 to 7", "only 6"});
  error(0, {2, 3}, {4, 1}, {"'a'", "only 6"});
  error(7, {1}, {1}, {"'a'", "only 6"});
  error(-1, {1}, {1}, {"'a'", "impossible place"});
  error(5, {6}, {-1}, {"'a'", "impossible place"});
  error(0, {3}, {INT64_MAX / 2 + 1}, {"'a'", "impossible place"});
  error(INT64_MAX, {1}, {1}, {"'a'", "impossible place"});
  error(0, {-1}, {1}, {"'a'", "negative"});
  error(0, {int64_t{1} << 40, 1 << 30}, {0, 0}, {"'a'", "more elements"});
  error(0, {1 << 30}, {0}, {"'a'", "larger than the file"});
  error(0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {"9 dimensions"});
  error(0, {1}, {1, 1}, {"strides"});
}

TEST(Pth, StoragesThatDoNotFit) {
  const std::string pickled = pickle(pickle_dict({{"a", pickle_tensor(floats(), 0, {6}, {1})}}));
  expect_error(parse_pth, pth(pickled, {}), {"lacks", "data/'0'", "'a'"});
  expect_error(parse_pth, pth(pickled, {{"0", kSix + "1234"}}), {"28 bytes", "6 elements"});
  expect_error(parse_pth, pth(pickled, {{"0", kSix.substr(1)}}), {"23 bytes", "6 elements"});
}

TEST(Pth, WrongArchives) {
  expect_error(parse_pth, zip({{"a.txt", "hello"}}), {"without a data.pkl", "unpack"});
  const std::string empty = pickle(pickle_dict({}));
  expect_error(parse_pth, zip({{"a/data.pkl", empty}, {"b/data.pkl", empty}}), {"more than one"});
  expect_error(parse_pth, zip({{"a/data.pkl", empty}, {"a/byteorder", "big"}}),
               {"'big'", "'little'"});
  expect_error(parse_pth, zip({{"a/data.pkl", empty}, {"a/constants.pkl", ""}}), {"TorchScript"});
  expect_error(parse_pth, pth(pickle(pickle_tensor(floats(), 0, {6}, {1})), {{"0", kSix}}),
               {"single tensor", "state_dict"});
}

TEST(Pth, Names) {
  const std::string tensor = pickle_tensor(floats(), 0, {6}, {1});
  const auto named = [&](const std::string& name) {
    return pth(pickle(pickle_dict({{name, tensor}, {"b", tensor}})), {{"0", kSix}});
  };
  expect_error(parse_pth, named("b"), {"two tensors have the name 'b'"});
  expect_error(parse_pth, named(""), {"empty name"});
  expect_error(parse_pth, named("\xff"), {"not UTF-8"});
  expect_error(parse_pth, named(std::string(10'000, 'n')), {"at most"});
  expect_error(parse_pth, pth(pickle("}" + pickle_int(1) + tensor + "s"), {{"0", kSix}}),
               {"no name"});
}

TEST(Pth, DamagedFilesNeverCrash) {
  EXPECT_EQ(parse_damaged(parse_pth, good_file()), 0);
}

}  // namespace
}  // namespace anser
