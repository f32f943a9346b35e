#include "formats/pickle.h"

#include <gtest/gtest.h>

#include "formats/builders.h"

namespace anser {
namespace {

using builders::pickle_int;
using builders::pickle_text;

// In the shape of a parser, for the helpers.
TensorFile parse_pickle(std::span<const std::byte> bytes, const std::string& path) {
  read_pickle(bytes, path);
  return {};
}

void expect_error(const std::string& bytes, const std::vector<std::string>& words) {
  builders::expect_error(parse_pickle, bytes, words);
}

PickleValue root_of(const std::string& bytes) {
  return read_pickle(builders::as_bytes(bytes), "file").root;
}

TEST(Pickle, Integers) {
  using namespace std::string_literals;
  EXPECT_EQ(root_of("K\xff."s).integer, 255);
  EXPECT_EQ(root_of("M\x01\x02."s).integer, 0x201);
  EXPECT_EQ(root_of("J\xfe\xff\xff\xff."s).integer, -2);
  EXPECT_EQ(root_of("\x8a\x00."s).integer, 0);
  EXPECT_EQ(root_of("\x8a\x01\xff."s).integer, -1);
  EXPECT_EQ(root_of("\x8a\x02\xff\x00."s).integer, 255);
  EXPECT_EQ(root_of("\x8b\x05\x00\x00\x00\x00\x00\x00\x00\x01."s).integer, int64_t{1} << 32);
  EXPECT_EQ(root_of(pickle_int(INT64_MIN) + ".").integer, INT64_MIN);
  expect_error("\x8a\x09" + std::string(9, 'x') + ".", {"integer of 9 bytes"});
}

TEST(Pickle, OtherScalars) {
  using namespace std::string_literals;
  EXPECT_EQ(root_of("N.").kind, PickleKind::none);
  EXPECT_EQ(root_of("\x88.").integer, 1);
  EXPECT_EQ(root_of("\x89.").integer, 0);
  EXPECT_EQ(root_of("G\x3f\xf8\x00\x00\x00\x00\x00\x00."s).real, 1.5);
  const std::string strings[] = {
      "X\2\0\0\0hi."s, "\x8c\2hi."s,   "U\2hi."s, "T\2\0\0\0hi."s, "\x8d\2\0\0\0\0\0\0\0hi."s,
      "C\2hi."s,       "B\2\0\0\0hi."s};
  for (const std::string& bytes : strings) EXPECT_EQ(root_of(bytes).string(), "hi");
}

TEST(Pickle, ContainersAndMemo) {
  using namespace std::string_literals;
  // {'k': [1, 2, (3,)], 'm': the same list}, protocol 4 with a frame and implicit memo indices.
  const std::string bytes =
      "\x80\x04\x95\x1b\0\0\0\0\0\0\0}\x94(\x8c\1k\x94]\x94(K\1K\2K\3\x85\x94\x65\x8c\1m\x94h\2u."s;
  const Pickle pickle = read_pickle(builders::as_bytes(bytes), "file");
  ASSERT_EQ(pickle.root.kind, PickleKind::dict);
  const auto& dict = pickle.containers[pickle.root.index];
  ASSERT_EQ(dict.size(), 4u);
  EXPECT_EQ(dict[0].string(), "k");
  ASSERT_EQ(dict[1].kind, PickleKind::list);
  EXPECT_EQ(dict[3].kind, PickleKind::list);
  EXPECT_EQ(dict[1].index, dict[3].index);
  const auto& list = pickle.containers[dict[1].index];
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[1].integer, 2);
  ASSERT_EQ(list[2].kind, PickleKind::tuple);
  EXPECT_EQ(pickle.containers[list[2].index].at(0).integer, 3);
}

TEST(Pickle, UnknownGlobalsAreNamedAndNotRun) {
  using namespace std::string_literals;
  expect_error(
      "\x80\x02"
      "cos\nsystem\n" +
          pickle_text("touch /tmp/x") + "\x85R.",
      {"'os.system'", "was not run", "unsafe"});
  expect_error(
      "\x80\x02"
      "cbuiltins\neval\n.",
      {"'builtins.eval'", "unsafe"});
  expect_error("\x80\x04\x8c\5posix\x8c\6system\x93.", {"'posix.system'", "unsafe"});
  // Right name, wrong module.
  expect_error(
      "\x80\x02"
      "cevil\nOrderedDict\n.",
      {"'evil.OrderedDict'"});
  expect_error(
      "\x80\x02"
      "ctorch\n_rebuild_tensor_v2\n.",
      {"'torch._rebuild_tensor_v2'"});
  // Opcodes that make objects or import otherwise.
  for (const std::string opcode : {"i", "o", "\x81", "\x92", "P", "\x82", "\x97", "I", "S", "V"}) {
    expect_error("\x80\x02" + opcode + "os\nsystem\n.", {"opcode 0x"});
  }
}

TEST(Pickle, OnlyCallablesAreCalled) {
  expect_error("K\1)R.", {"what is called"});
  expect_error("ctorch\nFloatStorage\n)R.", {"a type is called"});
  expect_error("ccollections\nOrderedDict\nK\1R.", {"arguments"});
  expect_error("ccollections\nOrderedDict\nK\1\x85R.", {"OrderedDict"});
  expect_error("ctorch._utils\n_rebuild_tensor_v2\n)R.", {"a tensor is not made of"});
  expect_error("ctorch._utils\n_rebuild_parameter\nN\x85R.", {"no tensor"});
  expect_error("ctorch\nSize\n)R.", {"torch.Size"});
  expect_error("K\1}b.", {"attributes"});
}

TEST(Pickle, PersistentIds) {
  expect_error("NQ.", {"persistent id"});
  expect_error(")Q.", {"persistent id"});
  const auto id = [](const std::string& type, int64_t size) {
    return "(" + pickle_text("storage") + type + pickle_text("0") + pickle_text("cpu") +
           pickle_int(size) + "tQ.";
  };
  expect_error(id("ctorch\nFloatStorage\n", -1), {"negative"});
  expect_error(id("ccollections\nOrderedDict\n", 1), {"class"});
  expect_error(id("N", 1), {"class"});
}

TEST(Pickle, Stack) {
  expect_error("", {"cut off"});
  expect_error(".", {"too few values"});
  expect_error("NN.", {"left on the stack"});
  expect_error("(N.", {"left on the stack"});
  expect_error("0.", {"too few values"});
  expect_error("t.", {"no mark"});
  expect_error("N\x86.", {"too few values"});
  expect_error("N(\x85.", {"too few values"});  // not through the mark
  expect_error("K\1a.", {"no list or dict"});
  expect_error("NK\1a.", {"no list or dict"});
  expect_error("]N(e.", {"no list or dict"});
  expect_error("}NNa.", {"no list or dict"});
  expect_error("}(Nu.", {"without a value"});
  expect_error("(Nd.", {"without a value"});
  expect_error("h\5.", {"memo index 5"});
  expect_error(
      "Nq\1"
      "h" +
          std::string(1, '\0') + ".",
      {"memo index 0"});
  expect_error("q\1.", {"too few values"});
  expect_error("\x80\x06N.", {"protocol 6"});
}

TEST(Pickle, BombsStaySmall) {
  using namespace std::string_literals;
  // A memo index that would take 64 GB.
  expect_error("Nr\xff\xff\xff\xff."s, {"memo index 4294967295"});
  // Strings and integers that state more than there is.
  expect_error("X\xff\xff\xff\xffhi."s, {"cut off"});
  expect_error("\x8d\xff\xff\xff\xff\xff\xff\xff\xffhi."s, {"cut off"});
  expect_error("\x8b\xff\xff\xff\xffhi."s, {"integer of"});
  // A billion laughs: 60 lists, each holding the one before twice. Nothing is copied.
  std::string laughs = "]";
  for (char i = 0; i < 60; ++i) laughs += "q"s + i + "0](h"s + i + "h"s + i + "e"s;
  EXPECT_EQ(root_of(laughs + ".").kind, PickleKind::list);
  // As dicts in a checkpoint they would be walked.
  std::string dicts = "}";
  for (char i = 0; i < 60; ++i) {
    dicts += "q"s + i + "0}("s + pickle_text("a") + "h"s + i + pickle_text("b") + "h"s + i + "u"s;
  }
  builders::expect_error(parse_pth, builders::pth(dicts + ".", {}), {"nested more than"});
  std::string twice = "}" + pickle_text("a") + "}q" + std::string(1, '\0') + "s" +
                      pickle_text("b") + "h" + std::string(1, '\0') + "s.";
  builders::expect_error(parse_pth, builders::pth(twice, {}), {"occurs twice"});
  // Itself.
  builders::expect_error(parse_pth, builders::pth("}q\1" + pickle_text("a") + "h\1s.", {}),
                         {"occurs twice"});
  // Nesting of a million, by marks and by lists, and a long line.
  expect_error(std::string(1'000'000, '('), {"cut off"});
  expect_error(std::string(1'000'000, ']') + ".", {"left on the stack"});
  std::string deep = "]";
  for (int i = 0; i < 300'000; ++i) deep += "\x85";
  EXPECT_EQ(root_of(deep + ".").kind, PickleKind::tuple);
  expect_error(std::string(5'000'000, '('), {"stack grows too large"});
  expect_error(std::string(5'000'000, ']'), {"too"});
  expect_error("c" + std::string(100'000, 'x'), {"name is too long"});
}

TEST(Pickle, DamagedPicklesNeverCrash) {
  const std::string tensor = builders::pickle_tensor(
      builders::pickle_storage("torch\nHalfStorage", "0", 6), 0, {2, 3}, {3, 1});
  // STOP stands last, so nothing shorter is whole.
  EXPECT_EQ(builders::parse_damaged(
                parse_pickle, builders::pickle(builders::pickle_dict({{"a", tensor}, {"b", "N"}}))),
            0);
}

}  // namespace
}  // namespace anser
