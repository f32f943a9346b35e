// anser state: a store from the command line.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "anser/model.h"
#include "cli/models.h"
#include "cli/program.h"
#include "support/redis_server.h"

namespace support {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

class StateCommand : public testing::Test {
 protected:
  Result run(Arguments words) const {
    words.insert(words.begin() + 1, {"--state-dir", dir_ / "states"});
    words.insert(words.begin(), "state");
    return run_anser(words);
  }
  std::string out(const Arguments& words) const {
    const Result result = run(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  // The id that a command prints.
  std::string id(const Arguments& words) const {
    std::string line = out(words);
    EXPECT_EQ(line.size(), 27u) << line;
    EXPECT_TRUE(line.ends_with('\n'));
    line.pop_back();
    return line;
  }
  std::string save(const std::string& text, Arguments more = {}) const {
    more.insert(more.begin(), {"save", "-m", byte_model(), "-p", text});
    return id(more);
  }
  Json show(const std::string& which) const { return Json::parse(out({"show", which, "--json"})); }

  TempDir dir_;
};

TEST_F(StateCommand, AFileGoesInAndComesOut) {
  ASSERT_EQ(run_anser({"run", "-m", byte_model(), "-p", "Once", "-n", "3", "--seed", "1",
                       "--save-state", dir_ / "a.state"})
                .exit_code,
            0);
  const std::string a = id({"save", dir_ / "a.state", "--name", "once"});
  EXPECT_EQ(out({"load", "once", "-o", dir_ / "b.state"}), "");
  EXPECT_EQ(read_file(dir_ / "b.state"), read_file(dir_ / "a.state"));
  // Which `anser run` takes.
  EXPECT_EQ(run_anser({"run", "-m", byte_model(), "--load-state", dir_ / "b.state", "-n", "3",
                       "--seed", "1"})
                .exit_code,
            0);
  EXPECT_EQ(show("once")["model"], nullptr);
  const std::string b = id({"save", dir_ / "a.state", "-m", byte_model(), "--parent", a});
  EXPECT_EQ(show(b)["model"], anser::Model::open(byte_model()).name());
  EXPECT_EQ(show(b)["parent"], a);
}

// From a prompt, in one piece or in two: the same state that `anser run` makes.
TEST_F(StateCommand, APromptBecomesAState) {
  ASSERT_EQ(run_anser({"run", "-m", byte_model(), "-p", "Once upon", "-n", "0", "--save-state",
                       dir_ / "run.state"})
                .exit_code,
            0);
  const std::string whole = save("Once upon");
  const std::string begin = save("Once");
  const std::string rest = save(" upon", {"--parent", begin});
  for (const std::string& which : {whole, rest}) {
    out({"load", which, "-o", dir_ / "out.state"});
    EXPECT_EQ(read_file(dir_ / "out.state"), read_file(dir_ / "run.state"));
  }
  EXPECT_EQ(show(rest)["parent"], begin);
  EXPECT_EQ(show(rest)["tokens"], 9);

  // A vocabulary with an end of text begins with it.
  const std::string other = id({"save", "-m", vocabulary_model(), "-p", "Once"});
  EXPECT_EQ(show(other)["tokens"], 5);
  const Result wrong = run({"save", "-m", vocabulary_model(), "-p", "x", "--parent", begin});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_NE(wrong.err.find("another model"), std::string::npos) << wrong.err;
}

TEST_F(StateCommand, ShowsAndLists) {
  const std::string a =
      save("A", {"--name", "first one", "--tag", "x", "--tag", "y", "--note", R"({"k": [1]})"});
  const std::string b = save("B", {"--parent", a, "--tag", "y"});
  const Json object = show("first one");
  EXPECT_EQ(object["id"], a);
  EXPECT_EQ(object["tags"], Json({"x", "y"}));
  EXPECT_EQ(object["note"], Json::parse(R"({"k":[1]})"));
  EXPECT_EQ(object["fingerprint"].get<std::string>().size(), 16u);
  for (const char* key :
       {"parent", "name", "created", "last_used", "tokens", "model", "raw_bytes", "stored_bytes"}) {
    EXPECT_TRUE(object.contains(key)) << key;
  }
  const std::string text = out({"show", a.substr(0, 8)});
  for (const std::string& what : {a, b, std::string("first one"), std::string("x, y")}) {
    EXPECT_NE(text.find(what), std::string::npos) << what << " in\n" << text;
  }

  const auto listed = [&](const Arguments& filter) {
    Arguments words = {"ls", "--json"};
    words.insert(words.end(), filter.begin(), filter.end());
    std::vector<std::string> ids;
    for (const Json& entry : Json::parse(out(words))) ids.push_back(entry["id"]);
    return ids;
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(listed({}), (Ids{a, b}));
  EXPECT_EQ(listed({"--tag", "x"}), Ids{a});
  EXPECT_EQ(listed({"--parent", "first one"}), Ids{b});
  EXPECT_EQ(listed({"-m", byte_model()}), (Ids{a, b}));
  EXPECT_EQ(listed({"-m", vocabulary_model()}), Ids{});
  const Result table = run({"ls"});
  EXPECT_EQ(std::count(table.out.begin(), table.out.end(), '\n'), 3);
  EXPECT_NE(table.out.find("first one"), std::string::npos) << table.out;
  EXPECT_NE(table.err.find("2 states"), std::string::npos) << table.err;
}

TEST_F(StateCommand, LabelsChange) {
  const std::string a = save("A", {"--name", "old", "--tag", "x"});
  out({"label", "old", "--name", "new", "--tag", "y", "--untag", "x", "--note", "7"});
  EXPECT_EQ(show(a)["name"], "new");
  EXPECT_EQ(show(a)["tags"], Json({"y"}));
  EXPECT_EQ(show(a)["note"], 7);
  out({"label", "new", "--name", ""});
  EXPECT_EQ(show(a)["name"], nullptr);
  EXPECT_EQ(show(a)["note"], 7);
}

TEST_F(StateCommand, NamesAreReachableOrRefused) {
  const std::string a = save("A", {"--name", "a"});
  for (const std::string name : {"[a]", "-x", "--json", "a,b", "50%", " a ", "ls", "[a,b]", "é"}) {
    const std::string id = this->id({"fork", a, "--name", name});
    EXPECT_EQ(Json::parse(out({"show", "--json", "--", name}))["id"], id) << name;
    out({"label", id, "--tag", "t", "--untag", "t"});
    if (name[0] != '-') {
      out({"rm", name});
    } else {
      EXPECT_EQ(run({"rm", a, name}).exit_code, 2);
      out({"rm", "--", name});
    }
    EXPECT_EQ(run({"show", id}).exit_code, 1);
  }
  EXPECT_EQ(show("a")["id"], a);
  for (const std::string name : {"a/b", ".", "..", "a\\b", "\t", "\xff", a.c_str()}) {
    EXPECT_EQ(run({"fork", a, "--name", name}).exit_code, 1) << name;
    EXPECT_EQ(run({"label", a, "--name", name}).exit_code, 1) << name;
    EXPECT_EQ(run({"save", "-m", "/nonexistent", "-p", "x", "--name", name}).err.find("/nonex"),
              std::string::npos);
  }
  EXPECT_EQ(Json::parse(out({"ls", "--json"})).size(), 1u);
  // Before the model is loaded.
  EXPECT_NE(run({"save", "-m", "/nonexistent", "-p", "x", "--name", "a"}).err.find(a),
            std::string::npos);
  EXPECT_EQ(run({"label", a, "--untag", "nothere"}).exit_code, 1);
  EXPECT_EQ(run({"save", "-m", byte_model(), "-p", "", "--parent", a}).exit_code, 2);
}

TEST_F(StateCommand, ForksAndDrawsTheTree) {
  const std::string root = save("A", {"--name", "root"});
  const std::string child = id({"fork", "root", "--tag", "t"});
  const std::string left = save("B", {"--parent", child});
  const std::string leaf = save("C", {"--parent", left});
  const std::string right = id({"fork", child, "--name", "right"});
  const std::string alone = save("D");

  // Every line without its date.
  const auto drawn = [&](const Arguments& words) {
    std::string text = out(words), lines;
    for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
      std::string line = text.substr(at, text.find('\n', at) - at);
      const size_t date = line.rfind("  20");
      lines += (date == std::string::npos ? line : line.substr(0, date)) + "\n";
    }
    return lines;
  };
  const std::string tree = "o " + child + "  (t)  1 tokens\n" +  //
                           "├─o " + left + "  2 tokens\n" +      //
                           "│ o " + leaf + "  3 tokens\n";
  EXPECT_EQ(drawn({"log"}), "o " + root + "  root  1 tokens\n" + tree + "└─o " + right +
                                "  right  1 tokens\n\no " + alone + "  1 tokens\n");
  EXPECT_EQ(drawn({"log", "right"}),
            "o " + root + "  root  1 tokens\n" + tree + "└─* " + right + "  right  1 tokens\n");

  // What is gone is shown where it was.
  EXPECT_EQ(out({"rm", "root", alone}), "");
  EXPECT_EQ(drawn({"log"}),
            "o " + root + "  (removed)\n" + tree + "└─o " + right + "  right  1 tokens\n");
  EXPECT_EQ(show(child)["parent"], root);
  EXPECT_EQ(out({"load", child, "-o", dir_ / "s"}), "");
}

TEST_F(StateCommand, DiffShowsTheChangeOfEveryHead) {
  const std::string a = save("Once"), b = save("Again", {"--parent", a});
  const Json same = Json::parse(out({"diff", a, a, "--json"}));
  ASSERT_EQ(same["layers"].size(), 3u);
  for (const Json& layer : same["layers"]) {
    EXPECT_EQ(layer["att_shift"], 0.0);
    EXPECT_EQ(layer["ffn_shift"], 0.0);
    EXPECT_EQ(layer["heads"], Json({0.0, 0.0}));
  }
  const Json object = Json::parse(out({"diff", a, b, "--json"}));
  EXPECT_EQ(object["a"], a);
  EXPECT_EQ(object["b"], b);
  EXPECT_EQ(object["tokens"], Json({4, 9}));
  for (const Json& layer : object["layers"]) {
    const double heads[] = {layer["heads"][0], layer["heads"][1]}, all = layer["wkv"];
    EXPECT_GT(layer["att_shift"], 0.01);
    EXPECT_GT(layer["ffn_shift"], 0.01);
    EXPECT_GT(std::min(heads[0], heads[1]), 0.001);
    EXPECT_LE(std::min(heads[0], heads[1]), all);
    EXPECT_GE(std::max(heads[0], heads[1]), all);
  }
  out({"load", a, "-o", dir_ / "a"});
  out({"load", b, "-o", dir_ / "b"});
  const anser::State before = anser::State::load(dir_ / "a"),
                     after = anser::State::load(dir_ / "b");
  double change = 0, size = 0;
  for (int i = 0; i < 64 * 64; ++i) {
    const double x = before.wkv(2, 1)[i], y = after.wkv(2, 1)[i];
    change += (y - x) * (y - x);
    size += x * x;
  }
  EXPECT_NEAR(double(object["layers"][2]["heads"][1]), std::sqrt(change / size), 1e-9);

  const Result table = run({"diff", a, b});
  EXPECT_EQ(std::count(table.out.begin(), table.out.end(), '\n'), 4);
  EXPECT_NE(table.out.find("HEAD 1"), std::string::npos) << table.out;
  EXPECT_NE(table.err.find("from 4 tokens to 9"), std::string::npos) << table.err;

  const std::string other = id({"save", "-m", vocabulary_model(), "-p", "x"});
  const Result wrong = run({"diff", a, other});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_NE(wrong.err.find("different models"), std::string::npos) << wrong.err;
}

TEST_F(StateCommand, WhoseAStateIs) {
  const auto fails = [&](const Arguments& words, const std::string& said) {
    const Result result = run(words);
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
  };
  // Of the byte model's sizes and norms, but not of its weights.
  RandomModel tuned = random_model({.vocab = 256}, 1);
  for (double& x : tuned["blocks.2.att.key.weight"].values) x = -x;
  write_safetensors(dir_ / "tuned", tuned);
  const std::string a = save("Once"), b = id({"save", "-m", dir_ / "tuned", "-p", "Once"});
  fails({"diff", a, b}, "different fine-tunes");
  fails({"save", "-m", dir_ / "tuned", "--parent", a, "-p", "x"}, "another fine-tune");
  out({"load", b, "-o", dir_ / "b"});
  fails({"save", "-m", byte_model(), dir_ / "b"}, "another fine-tune");
  EXPECT_EQ(run_anser({"run", "-m", byte_model(), "--load-state", dir_ / "b", "-n", "1"}).exit_code,
            1);

  // A file of version 1 does not say. Everybody who reads it is told, once.
  anser::State old = anser::State::load(dir_ / "b");
  old.belongs_to(nullptr);
  old.save(dir_ / "old");
  const auto told = [](const Result& result) {
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const size_t at = result.err.find("does not say which fine-tune");
    return at != std::string::npos &&
           result.err.find("does not say which fine-tune", at + 1) == std::string::npos;
  };
  EXPECT_TRUE(told(run({"save", dir_ / "old", "--name", "kept"})));
  EXPECT_TRUE(told(run({"save", "-m", dir_ / "tuned", dir_ / "old"})));
  EXPECT_TRUE(told(run({"save", "-m", dir_ / "tuned", "--parent", "kept", "-p", "x"})));
  EXPECT_TRUE(told(run_anser({"run", "-m", dir_ / "tuned", "--load-state", dir_ / "old", "-n", "1",
                              "--save-state", dir_ / "new"})));
  EXPECT_TRUE(told(run_anser({"logits", "-m", dir_ / "tuned", "--load-state", dir_ / "old", "-p",
                              "x", "-o", dir_ / "x.npy"})));
  EXPECT_FALSE(
      told(run_anser({"run", "-m", dir_ / "tuned", "--load-state", dir_ / "new", "-n", "1"})));
  EXPECT_TRUE(anser::State::load(dir_ / "new").identity_known());
  run({"rm", "kept"});
  for (const std::string& state : {a, b}) run({"rm", state});
}

TEST_F(StateCommand, ATunedStateNeedsItsModel) {
  std::vector<Tensor> tensors;
  for (int l = 0; l < 3; ++l) {
    tensors.push_back({"blocks." + std::to_string(l) + ".att.time_state", {2, 64, 64}, {}});
    tensors.back().values.assign(2 * 4096, 0.25 + l);
  }
  write_pth_raw(dir_ / "t.pth", tensors, {.type = Float::f32});
  const Result alone = run({"save", dir_ / "t.pth"});
  EXPECT_EQ(alone.exit_code, 1);
  EXPECT_NE(alone.err.find("name its model with -m"), std::string::npos) << alone.err;
  const std::string kept = id({"save", "-m", byte_model(), dir_ / "t.pth"});
  out({"load", kept, "-o", dir_ / "t.state"});
  const anser::State state = anser::State::load(dir_ / "t.state");
  EXPECT_EQ(state.wkv(2)[7], 2.25f);
  EXPECT_TRUE(state.identity_known());
}

TEST_F(StateCommand, FailuresAreExplained) {
  const std::string a = save("A", {"--name", "taken"});
  const auto fails = [&](int code, const Arguments& words, const std::string& said) {
    const Result result = run(words);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
  };
  fails(1, {"show", "nobody"}, "nobody");
  fails(1, {"show", "../../etc/passwd"}, "no state");
  fails(1, {"show", a.substr(0, 3)}, "no state");
  fails(1, {"rm", a, "nobody"}, "nobody");
  EXPECT_EQ(show(a)["id"], a);  // all are found before the first one goes
  fails(1, {"fork", a, "--name", "taken"}, "taken");
  fails(1, {"save", dir_ / "missing"}, "missing");
  fails(1, {"save", "-m", byte_model(), "-p", "x", "--note", "{"}, "note");
  fails(1, {"load", a, "-o", dir_ / "no/folder"}, "no/folder");
  fails(2, {"save"}, "a state file, or a text");
  fails(2, {"save", dir_ / "f", "-p", "x"}, "a state file, or a text");
  fails(2, {"show"}, "anser state show --help");
  fails(2, {"load", a}, "--output");
  write_file(dir_ / ("states/" + a + ".json"), "rubbish");
  const Result result = run({"ls"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find(a + ".json"), std::string::npos) << result.err;
}

TEST(StateFolder, ComesFromTheEnvironment) {
  const TempDir dir;
  const Arguments save = {"state", "save", "-m", byte_model(), "-p", "x"};
  const std::string before[] = {getenv("HOME") ? getenv("HOME") : "",
                                getenv("XDG_STATE_HOME") ? getenv("XDG_STATE_HOME") : ""};
  const auto index = [&](const std::string& folder) {
    return std::filesystem::exists(dir / (folder + "/index.sqlite"));
  };
  setenv("HOME", dir.path().c_str(), 1);
  setenv("XDG_STATE_HOME", "relative", 1);
  EXPECT_EQ(run_anser(save).exit_code, 0);
  EXPECT_TRUE(index(".local/state/anser/states"));
  setenv("XDG_STATE_HOME", (dir / "xdg").c_str(), 1);
  EXPECT_EQ(run_anser(save).exit_code, 0);
  EXPECT_TRUE(index("xdg/anser/states"));
  setenv("ANSER_STATE_DIR", (dir / "own").c_str(), 1);
  EXPECT_EQ(run_anser(save).exit_code, 0);
  EXPECT_TRUE(index("own"));
  unsetenv("ANSER_STATE_DIR");
  unsetenv("XDG_STATE_HOME");
  unsetenv("HOME");
  const Result nowhere = run_anser(save);
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_NE(nowhere.err.find("--state-dir"), std::string::npos) << nowhere.err;
  if (!before[0].empty()) setenv("HOME", before[0].c_str(), 1);
  if (!before[1].empty()) setenv("XDG_STATE_HOME", before[1].c_str(), 1);
}

// All commands go through the same interface; tests/store compares what is behind it.
TEST(StateCommandInRedis, WorksAndKeepsThePasswordToItself) {
  const Result without = run_anser({"state", "ls", "--state-store", "redis://:secret@127.0.0.1:1"});
  EXPECT_EQ(without.exit_code, 1);
  EXPECT_NE(without.err.find("redis://127.0.0.1:1/0"), std::string::npos) << without.err;
  EXPECT_EQ(without.err.find("secret"), std::string::npos) << without.err;
  if (without.err.find("built without Redis") != std::string::npos) {
    EXPECT_NE(without.err.find("libhiredis-dev"), std::string::npos) << without.err;
    GTEST_SKIP() << "built without hiredis";
  }
  if (!RedisServer::installed()) {
    GTEST_SKIP() << "redis-server is not installed: tools/setup.sh scaleout";
  }
  const RedisServer server({"--requirepass", "secret"});
  const Arguments where = {"--state-store", server.url(":secret@")};
  const auto run = [&](Arguments words) {
    words.insert(words.begin(), "state");
    words.insert(words.end(), where.begin(), where.end());
    const Result result = run_anser(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err.find("secret"), std::string::npos) << result.err;
    return result.out;
  };
  run({"save", "-m", byte_model(), "-p", "Once", "--name", "once"});
  run({"fork", "once", "--name", "again", "--tag", "t"});
  const Json list = Json::parse(run({"ls", "--json"}));
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[1]["parent"], list[0]["id"]);
  const TempDir dir;
  run({"load", "again", "-o", dir / "a.state"});
  run({"rm", "once"});
  setenv("ANSER_STATE_STORE", server.url(":secret@").c_str(), 1);
  const Result found = run_anser({"state", "show", "again"});
  // What is given goes before what stands in the environment.
  const Result elsewhere = run_anser({"state", "show", "again", "--state-dir", dir / "none"});
  unsetenv("ANSER_STATE_STORE");
  EXPECT_EQ(found.exit_code, 0) << found.err;
  EXPECT_EQ(elsewhere.exit_code, 1);
  const Result both =
      run_anser({"state", "ls", "--state-dir", "x", "--state-store", "redis://host"});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_NE(both.err.find("one place"), std::string::npos) << both.err;
}

}  // namespace
}  // namespace support
