// Which tokenizer a model gets: the one that its files speak of, and never another. The files are
// written here, as JSON and GGUF by hand; World's vocabulary in tokenizer.json by code of its own.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "formats/gguf_writer.h"
#include "formats/tensor_file.h"
#include "model/save_gguf.h"
#include "model/save_safetensors.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;
using Json = nlohmann::json;

constexpr int kRows = 65536;

std::string byte_lines(int first_id) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    text += fmt::format("{} b'\\x{:02x}' 1\n", byte + first_id, byte);
  }
  return text;
}

// Bytes as byte-level vocabularies write them, by the rule that GPT-2's encoder states.
std::string seen(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const int byte = uint8_t(c);
    int character = byte;
    const auto shown = [](int b) { return (b > 32 && b < 127) || (b > 160 && b != 173); };
    if (!shown(byte)) {
      character = 256;
      for (int b = 0; b < byte; ++b) character += shown(b) ? 0 : 1;
    }
    if (character < 128) {
      text += char(character);
    } else {
      text += char(0xc0 | character >> 6);
      text += char(0x80 | (character & 63));
    }
  }
  return text;
}

class Tokenizers : public testing::Test {
 protected:
  // Heads of 64 where there are few rows, for those can be written from a Hugging Face folder.
  static RandomModel model(int rows) {
    const int size = rows < 1000 ? 64 : 16;
    return random_model({.vocab = rows,
                         .width = size,
                         .layers = 1,
                         .head_size = size,
                         .ffn = 16,
                         .rank_w = 8,
                         .rank_a = 8,
                         .rank_v = 8,
                         .rank_g = 8});
  }
  // Of many rows only one is made, for it takes a second.
  static const RandomModel& large() {
    static const RandomModel large = model(kRows);
    return large;
  }
  // With these members in config.json, instead of fla's or besides.
  std::string folder(int rows, const Json& config = Json::object()) {
    const std::string path = dir_ / "hf";
    std::filesystem::remove_all(path);
    write_hf_folder(path, rows == kRows ? large() : model(rows), {.type = Float::f16});
    Json whole = Json::parse(read_file(path + "/config.json"));
    whole.update(config);
    put("config.json", whole);
    return path;
  }
  void put(const std::string& name, const Json& json) {
    write_file(dir_ / "hf/" + name, json.dump());
  }
  // A GGUF file, its tensors those of the model, with these keys.
  std::string gguf(int rows, decltype(GgufOptions::metadata) metadata, bool bytes = false) {
    write_gguf(dir_ / "m.gguf", rows == kRows ? large() : model(rows),
               {.byte_vocabulary = bytes, .metadata = std::move(metadata)});
    return dir_ / "m.gguf";
  }
  static void expect_none(const Model& model, const std::vector<std::string>& words) {
    EXPECT_FALSE(model.has_tokenizer());
    if (model.has_tokenizer()) return;
    expect_error(words, [&] { model.tokenizer(); });
    expect_error({"--vocab", "--tokens"}, [&] { model.tokenizer(); });
  }
  static void expect_world(const Model& model) {
    ASSERT_TRUE(model.has_tokenizer());
    EXPECT_EQ(model.tokenizer().encode(" the"), std::vector<Token>{22590});
    EXPECT_EQ(model.tokenizer().eos(), std::vector<Token>{0});
    EXPECT_EQ(model.tokenizer().bos(), 0);
  }
  // The World vocabulary's texts by id, in a form that JSON can hold.
  static Json world_as_json(bool in_bytes) {
    const Tokenizer world = Tokenizer::builtin_world();
    Json vocabulary = Json::object();
    for (Token id = 1; id < world.size(); ++id) {
      const std::string text(world.bytes_of(id));
      const std::string key = in_bytes ? seen(text) : text;
      // What is no UTF-8 cannot stand there.
      if (Json(key).dump(-1, ' ', false, Json::error_handler_t::ignore) ==
          Json(key).dump(-1, ' ', false, Json::error_handler_t::replace)) {
        vocabulary[key] = id;
      }
    }
    return vocabulary;
  }

  TempDir dir_;
};

// ---- GGUF ----

TEST_F(Tokenizers, OfAGgufOfAnotherKindIsNamedWhateverItsRows) {
  for (const std::string kind : {"gpt2", "llama", "bert", "t5", "Rwkv"}) {
    const Model opened = Model::open(gguf(256, {{"tokenizer.ggml.model", kind}}));
    expect_none(opened, {kind, "tokenizer.ggml.model", "256 tokens"});
  }
  const Model world_sized = Model::open(gguf(kRows, {{"tokenizer.ggml.model", "gpt2"}}));
  expect_none(world_sized, {"gpt2", "65536"});
  // Nor without the key where there are tokens.
  write_gguf(dir_ / "m.gguf", model(256), {.metadata = {{"tokenizer.ggml.tokens", "a list"}}});
  expect_none(Model::open(dir_ / "m.gguf"), {"without tokenizer.ggml.model"});
  // By a number it is no better.
  expect_none(Model::open(gguf(256, {{"tokenizer.ggml.model", 3}})), {"tokenizer.ggml.model"});
  // A vocabulary that happens to lie there is not the file's, one that is named is.
  write_file(dir_ / "rwkv_vocab_v20230424.txt", byte_lines(1));
  expect_none(Model::open(gguf(300, {{"tokenizer.ggml.model", "gpt2"}})), {"gpt2"});
  const Model named =
      Model::open(dir_ / "m.gguf", {.vocabulary = dir_ / "rwkv_vocab_v20230424.txt"});
  EXPECT_EQ(named.tokenizer().encode("a"), std::vector<Token>{'a' + 1});
}

TEST_F(Tokenizers, AFileThatSaysItHasNoneGetsNone) {
  for (const char* none : {"no_vocab", "none"}) {
    expect_none(Model::open(gguf(kRows, {{"tokenizer.ggml.model", none}})), {"holds none"});
  }
  write_file(dir_ / "rwkv_vocab_v20230424.txt", byte_lines(1));
  EXPECT_TRUE(Model::open(dir_ / "m.gguf").has_tokenizer());
}

TEST_F(Tokenizers, OfFilesThatSayNothingIsGuessedByTheRows) {
  if (!Tokenizer::has_builtin_world()) GTEST_SKIP() << "no World vocabulary";
  expect_world(Model::open(gguf(kRows, {})));
  write_pth(dir_ / "m.pth", large());
  expect_world(Model::open(dir_ / "m.pth"));
  write_pth(dir_ / "pile.pth", model(50304));
  expect_none(Model::open(dir_ / "pile.pth"), {"50304", "GPT-NeoX"});
}

TEST_F(Tokenizers, OfAnotherKindIsWrittenOnAsItIs) {
  // A chat template, which is written for all models, and a text where a number belongs: no key may
  // stand there twice.
  gguf(kRows, {{"tokenizer.ggml.model", "gpt2"},
               {"tokenizer.ggml.bos_token_id", 5},
               {"tokenizer.chat_template", "{{ '<|im_start|>' }}"},
               {"general.file_type", "a text"},
               {"general.quantization_version", "a text"}});
  // With a vocabulary and all else of it.
  const TensorFile before = open_tensor_file(dir_ / "m.gguf");
  GgufWriter file(dir_ / "full.gguf");
  const std::vector<std::string> tokens = {"!", "Ġthe", "x"};
  for (const auto& [key, value] : before.metadata) file.any(key, value);
  file.texts("tokenizer.ggml.tokens", tokens);
  file.numbers("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1, 3});
  file.texts("tokenizer.ggml.merges", std::vector<std::string>{"Ġ t", "h e"});
  file.reals("tokenizer.ggml.scores", std::vector<float>{0.5f, -1, 0});
  for (const FileTensor& tensor : before.tensors)
    file.tensor(tensor.name, tensor.type, tensor.shape);
  for (const FileTensor& tensor : before.tensors) file.data(tensor.bytes);
  file.finish();
  const Model opened = Model::open(dir_ / "full.gguf");
  expect_none(opened, {"gpt2"});
  save_gguf(opened, dir_ / "out.gguf", {});
  const auto after = open_tensor_file(dir_ / "out.gguf").metadata;
  for (const auto& [key, value] : open_tensor_file(dir_ / "full.gguf").metadata) {
    if (!key.starts_with("tokenizer.")) continue;
    EXPECT_EQ(after.at(key), value) << key;
  }
  expect_none(Model::open(dir_ / "out.gguf"), {"gpt2"});
  // Safetensors have no place for it, and say that there is none.
  save_safetensors(opened, dir_ / "out.safetensors", {});
  expect_none(Model::open(dir_ / "out.safetensors"), {"holds none"});
  EXPECT_EQ(all_logits(dir_ / "out.safetensors", {1, 2, 65535}),
            all_logits(dir_ / "out.gguf", {1, 2, 65535}));
}

TEST_F(Tokenizers, AddedTokensOfGgufAreKeptByConverting) {
  gguf(300, {}, true);
  const TensorFile before = open_tensor_file(dir_ / "m.gguf");
  auto tokens = std::get<std::vector<std::string>>(before.metadata.at("tokenizer.ggml.tokens"));
  auto types = std::get<std::vector<int64_t>>(before.metadata.at("tokenizer.ggml.token_type"));
  tokens[257] = "<tool>", types[257] = 4;
  tokens[258] = "<|end|>", types[258] = 3;
  GgufWriter file(dir_ / "added.gguf");
  for (auto [key, value] : before.metadata) {
    if (key == "tokenizer.ggml.tokens") value = tokens;
    if (key == "tokenizer.ggml.token_type") value = types;
    file.any(key, value);
  }
  file.number("tokenizer.ggml.eos_token_id", 258);
  for (const FileTensor& tensor : before.tensors)
    file.tensor(tensor.name, tensor.type, tensor.shape);
  for (const FileTensor& tensor : before.tensors) file.data(tensor.bytes);
  file.finish();
  save_gguf(Model::open(dir_ / "added.gguf"), dir_ / "out.gguf", {});
  for (const char* name : {"added.gguf", "out.gguf"}) {
    const Model opened = Model::open(dir_ / name);
    const Tokenizer& tokenizer = opened.tokenizer();
    EXPECT_EQ(tokenizer.encode("a<tool><|end|>"), (std::vector<Token>{'a' + 1, 257, 258}));
    EXPECT_EQ(tokenizer.decode(std::vector<Token>{257, 258}), "<tool>");
    EXPECT_EQ(tokenizer.eos(), (std::vector<Token>{0, 258}));
  }
}

TEST_F(Tokenizers, TheEndsAreWhatTheFileSays) {
  const auto eos = [&](int id) {
    const Model opened = Model::open(
        gguf(300, {{"tokenizer.ggml.eos_token_id", id}, {"tokenizer.ggml.bos_token_id", 7}}, true));
    EXPECT_EQ(opened.tokenizer().bos(), 7);
    return std::pair(opened.tokenizer().eos(), opened.notes());
  };
  EXPECT_EQ(eos(0).first, std::vector<Token>{0});
  EXPECT_EQ(eos(259).first, (std::vector<Token>{0, 259}));
  EXPECT_EQ(eos(-1), std::pair(std::vector<Token>{0}, std::vector<std::string>()));
  EXPECT_EQ(eos(300).first, std::vector<Token>{0});
  ASSERT_EQ(eos(300).second.size(), 1u);
  EXPECT_NE(eos(300).second[0].find("300"), std::string::npos);
}

// ---- a vocabulary with a character 0 ----

TEST_F(Tokenizers, IdZeroMayBeACharacter) {
  write_safetensors(dir_ / "m.safetensors", model(300));
  write_file(dir_ / "rwkv_vocab_v20230424.txt", byte_lines(0) + "256 'goose' 5\n");
  const Model opened = Model::open(dir_ / "m.safetensors");
  EXPECT_EQ(opened.tokenizer().encode_document("goose"), std::vector<Token>{256});
  EXPECT_TRUE(opened.tokenizer().eos().empty());
  // Through GGUF and back.
  save_gguf(opened, dir_ / "out.gguf", {});
  EXPECT_TRUE(Model::open(dir_ / "out.gguf").tokenizer() == opened.tokenizer());
  EXPECT_TRUE(Model::open(dir_ / "out.gguf").tokenizer().eos().empty());
}

// ---- Hugging Face folders ----

TEST_F(Tokenizers, AnotherVocabularyInTheFolderIsNamed) {
  const Json bpe = {
      {"model", {{"type", "BPE"}, {"vocab", {{"!", 0}, {"Ġthe", 22590}}}, {"merges", {"a b"}}}},
      {"added_tokens", Json::array()}};
  folder(kRows);
  put("tokenizer.json", bpe);
  expect_none(Model::open(dir_ / "hf"), {"tokenizer.json", "BPE", "2 tokens"});
  put("tokenizer_config.json", {{"tokenizer_class", "PreTrainedTokenizerFast"}});
  expect_none(Model::open(dir_ / "hf"), {"tokenizer.json", "BPE"});
  // A vocabulary of the other kind beside it changes nothing, unless it is named.
  write_file(dir_ / "hf/rwkv_vocab_v20230424.txt", byte_lines(1));
  expect_none(Model::open(dir_ / "hf"), {"tokenizer.json", "BPE"});
  EXPECT_TRUE(Model::open(dir_ / "hf", {.vocabulary = dir_ / "hf/rwkv_vocab_v20230424.txt"})
                  .has_tokenizer());
  // The file by itself, in its folder.
  expect_none(Model::open(dir_ / "hf/model.safetensors"), {"tokenizer.json", "BPE"});
  // What is written from it gets none by its rows either.
  folder(256);
  put("tokenizer.json", bpe);
  const Model bytes = Model::open(dir_ / "hf");
  expect_none(bytes, {"BPE"});
  save_safetensors(bytes, dir_ / "out.safetensors", {});
  EXPECT_FALSE(Model::open(dir_ / "out.safetensors").has_tokenizer());
  save_gguf(bytes, dir_ / "out.gguf", {});
  EXPECT_FALSE(Model::open(dir_ / "out.gguf").has_tokenizer());
}

TEST_F(Tokenizers, AClassOrFilesOfAnotherKindAreNamed) {
  folder(kRows);
  put("tokenizer_config.json", {{"tokenizer_class", "Qwen2Tokenizer"}});
  expect_none(Model::open(dir_ / "hf"), {"Qwen2Tokenizer"});
  std::filesystem::remove(dir_ / "hf/tokenizer_config.json");
  write_file(dir_ / "hf/vocab.json", "{}");
  expect_none(Model::open(dir_ / "hf"), {"vocab.json"});
  std::filesystem::remove(dir_ / "hf/vocab.json");
  write_file(dir_ / "hf/tokenizer.json", "{ no JSON");
  expect_none(Model::open(dir_ / "hf"), {"tokenizer.json", "JSON"});
}

TEST_F(Tokenizers, WorldIsKnownByItsClassItsCodeOrNothing) {
  if (!Tokenizer::has_builtin_world()) GTEST_SKIP() << "no World vocabulary";
  // fla writes what transformers' models usually have.
  folder(kRows, {{"bos_token_id", 1}, {"eos_token_id", 2}});
  put("generation_config.json", {{"bos_token_id", 1}, {"eos_token_id", 2}});
  expect_world(Model::open(dir_ / "hf"));
  write_file(dir_ / "hf/hf_rwkv_tokenizer.py", "");
  expect_world(Model::open(dir_ / "hf"));
  std::filesystem::remove(dir_ / "hf/hf_rwkv_tokenizer.py");
  put("tokenizer_config.json",
      {{"tokenizer_class", "RwkvTokenizer"},
       {"eos_token", "\n\n"},
       {"added_tokens_decoder", {{"0", {{"content", "<s>"}, {"special", true}}}}}});
  expect_world(Model::open(dir_ / "hf"));
  put("tokenizer_config.json",
      {{"auto_map", {{"AutoTokenizer", {"hf_rwkv_tokenizer.RwkvTokenizer", nullptr}}}}});
  expect_world(Model::open(dir_ / "hf"));
}

// Its class says that it is World's, and the vocabulary beside it that it is not.
TEST_F(Tokenizers, AClassOfRwkvDoesNotMakeAnotherVocabularyWorld) {
  if (!Tokenizer::has_builtin_world()) GTEST_SKIP() << "no World vocabulary";
  folder(kRows);
  put("tokenizer_config.json", {{"tokenizer_class", "RwkvTokenizer"}});
  Json vocabulary = Json::object();
  for (int id = 0; id < kRows; ++id) vocabulary[fmt::format("word{}", id)] = id;
  const auto write = [&](const Json& vocab) {
    put("tokenizer.json", {{"model", {{"type", "BPE"}, {"vocab", vocab}}}});
  };
  write(vocabulary);
  expect_none(Model::open(dir_ / "hf"), {"BPE", "65536"});
  expect_none(Model::open(dir_ / "hf/model.safetensors"), {"BPE", "65536"});
  // A way of writing bytes that nobody knows here.
  const Json world = world_as_json(false);
  Json escaped = Json::object();
  for (const auto& [text, id] : world.items()) {
    const bool space = text.starts_with(' ');
    escaped[space ? "\u2581" + text.substr(1) : text] = id;
  }
  write(escaped);
  expect_world(Model::open(dir_ / "hf"));
}

// A file by itself is what its folder is, also where there is no config.json.
TEST_F(Tokenizers, AFileWithHuggingFaceNamesAsksItsFolder) {
  folder(kRows);
  std::filesystem::remove(dir_ / "hf/config.json");
  put("tokenizer.json", {{"model", {{"type", "BPE"}, {"vocab", {{"goose", 0}}}}}});
  expect_none(Model::open(dir_ / "hf/model.safetensors"), {"BPE"});
}

// The usual name of a folder's file with a config.json beside it: it is the folder's own.
TEST_F(Tokenizers, AFileOfOriginalNamesInAFolderAsksIt) {
  folder(kRows);
  write_safetensors(dir_ / "hf/model.safetensors", large());
  put("tokenizer.json", {{"model", {{"type", "BPE"}, {"vocab", {{"goose", 0}}}}}});
  write_file(dir_ / "hf/rwkv_vocab_v20230424.txt", byte_lines(1));
  expect_none(Model::open(dir_ / "hf"), {"BPE"});
  expect_none(Model::open(dir_ / "hf/model.safetensors"), {"BPE"});
}

TEST_F(Tokenizers, WorldIsKnownByItsVocabularyEntryByEntry) {
  if (!Tokenizer::has_builtin_world()) GTEST_SKIP() << "no World vocabulary";
  folder(kRows);
  const Json added = Json::array({{{"id", 0}, {"content", "<|endoftext|>"}, {"special", true}}});
  const auto write = [&](const Json& vocabulary) {
    put("tokenizer.json",
        {{"model", {{"type", "WordLevel"}, {"vocab", vocabulary}}}, {"added_tokens", added}});
  };
  put("tokenizer_config.json", {{"tokenizer_class", "TokenizersBackend"}});
  Json vocabulary = world_as_json(true);
  write(vocabulary);
  expect_world(Model::open(dir_ / "hf"));
  // Two of them exchanged, and it is another one.
  std::swap(vocabulary["User"], vocabulary["goose"]);
  write(vocabulary);
  expect_none(Model::open(dir_ / "hf"), {"WordLevel"});
  write(world_as_json(false));
  expect_world(Model::open(dir_ / "hf"));
}

TEST_F(Tokenizers, ATrieIsReadFromTokenizerJson) {
  folder(300, {{"bos_token_id", 0}});
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) vocabulary[seen(std::string(1, char(byte)))] = byte + 1;
  vocabulary[seen(" gänse\\n")] = 257;
  put("tokenizer.json", {{"model", {{"type", "RwkvTrie"}, {"vocab", vocabulary}}},
                         {"added_tokens",
                          {{{"id", 0}, {"content", "<|endoftext|>"}, {"special", true}},
                           {{"id", 299}, {"content", "<tool>"}, {"special", false}},
                           {{"id", 300}, {"content", "<late>"}, {"special", false}}}}});
  const Model opened = Model::open(dir_ / "hf");
  EXPECT_EQ(opened.tokenizer().encode(" gänse\\n<tool>\xff"), (std::vector<Token>{257, 299, 256}));
  EXPECT_EQ(opened.tokenizer().eos(), std::vector<Token>{0});
  ASSERT_EQ(opened.notes().size(), 1u);
  EXPECT_NE(opened.notes()[0].find("<late>"), std::string::npos);
}

TEST_F(Tokenizers, AddedTokensAndEndsOfAFolder) {
  folder(300, {{"eos_token_id", 258}});
  write_file(
      dir_ / "hf/rwkv_vocab_v20260603.txt",
      "\xef\xbb\xbf" + byte_lines(1) + "257 '\\n\\n' 2\r\n258 '<|end|>' 7\r\n259 '.<' 2\r\n");
  write_file(dir_ / "hf/hf_rwkv_tokenizer.py", "");
  put("added_tokens.json", {{"<old>", 270}, {"<oldest>", 271}});
  put("special_tokens_map.json", {{"pad_token", "<old>"}});
  put("tokenizer_config.json", {{"tokenizer_class", "RwkvTokenizer"},
                                {"added_tokens_decoder",
                                 {{"257", {{"content", "\n\n"}, {"special", true}}},
                                  {"258", {{"content", "<|end|>"}, {"special", true}}},
                                  {"280", {{"content", "<tool>"}, {"special", false}}},
                                  {"281", {{"content", "\n\n"}, {"special", true}}}}}});
  put("generation_config.json", {{"eos_token_id", {0, 280}}});
  const Model opened = Model::open(dir_ / "hf");
  const Tokenizer& tokenizer = opened.tokenizer();
  EXPECT_EQ(tokenizer.encode("a.<|end|><tool>\n\n\n<old><oldest>"),
            (std::vector<Token>{'a' + 1, '.' + 1, 258, 280, 257, '\n' + 1, 270, 271}));
  EXPECT_EQ(tokenizer.decode(std::vector<Token>{257, 258, 270, 271, 280, 281}),
            "\n\n<oldest><tool>");
  EXPECT_EQ(tokenizer.eos(), (std::vector<Token>{0, 258, 280}));
  EXPECT_EQ(opened.notes(), std::vector<std::string>());
  // Both formats say on in what a text ends.
  save_gguf(opened, dir_ / "out.gguf", {});
  EXPECT_EQ(Model::open(dir_ / "out.gguf").tokenizer().eos(), tokenizer.eos());
  EXPECT_TRUE(Model::open(dir_ / "out.gguf").tokenizer() == tokenizer);
  save_safetensors(opened, dir_ / "out.safetensors", {});
  const Model plain =
      Model::open(dir_ / "out.safetensors", {.vocabulary = dir_ / "hf/rwkv_vocab_v20260603.txt"});
  EXPECT_EQ(plain.tokenizer().eos(), tokenizer.eos());
}

// ---- a vocabulary that is named ----

TEST_F(Tokenizers, ANamedVocabularyMustFit) {
  write_safetensors(dir_ / "m.safetensors", model(300));
  write_file(dir_ / "large.txt", byte_lines(1) + "300 'x y' 3\n");
  expect_error({"large.txt", "up to 300", "only 300 tokens"},
               [&] { Model::open(dir_ / "m.safetensors", {.vocabulary = dir_ / "large.txt"}); });
  write_safetensors(dir_ / "wide.safetensors", model(1000));
  write_file(dir_ / "small.txt", byte_lines(1));
  const Model small = Model::open(dir_ / "wide.safetensors", {.vocabulary = dir_ / "small.txt"});
  ASSERT_EQ(small.notes().size(), 1u);
  EXPECT_NE(small.notes()[0].find("257 of the model's 1000"), std::string::npos);
}

}  // namespace
}  // namespace anser
