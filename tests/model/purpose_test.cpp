// What a file says of its model's use: read from GGUF and safetensors, kept when it is written
// again, refused where it makes no sense.
#include <gtest/gtest.h>

#include <cmath>

#include "anser/model.h"
#include "formats/tensor_file.h"
#include "model/save_gguf.h"
#include "model/save_safetensors.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;
using Metadata = decltype(GgufOptions::metadata);

class PurposeOfAFile : public testing::Test {
 protected:
  std::string file(const Metadata& metadata) {
    write_gguf(dir_ / "in.gguf", random_model(kTinyShape), {.metadata = metadata});
    return dir_ / "in.gguf";
  }
  Model open(const Metadata& metadata) { return Model::open(file(metadata)); }

  TempDir dir_;
};

TEST_F(PurposeOfAFile, IsEmptyWhereNothingIsSaid) {
  const Model model = open({});
  EXPECT_EQ(model.kind(), "");
  EXPECT_FALSE(model.tells_stories());
  EXPECT_TRUE(model.sampling().empty());
}

TEST_F(PurposeOfAFile, IsReadFromGguf) {
  const Model model = open({{"anser.kind", "story"},
                            {"general.sampling.temp", 0.75f},
                            {"general.sampling.top_p", 0.5f},
                            {"general.sampling.top_k", 40},
                            {"general.sampling.min_p", 0.0625f},
                            {"general.sampling.penalty_repeat", 1.5f}});  // not one of ours
  EXPECT_TRUE(model.tells_stories());
  EXPECT_EQ(model.sampling().temperature, 0.75f);
  EXPECT_EQ(model.sampling().top_p, 0.5f);
  EXPECT_EQ(model.sampling().top_k, 40);
  EXPECT_EQ(model.sampling().min_p, 0.0625f);
}

TEST_F(PurposeOfAFile, OtherKindsAreKeptAndAreNoStories) {
  const Model model = open({{"anser.kind", "fill-in"}});
  EXPECT_EQ(model.kind(), "fill-in");
  EXPECT_FALSE(model.tells_stories());
}

TEST_F(PurposeOfAFile, NumbersMayBeOfAnotherType) {
  // As llama.cpp reads them: whatever the type, and a top-k below 0 is off.
  const Model model = open({{"general.sampling.temp", 1},
                            {"general.sampling.top_p", "0.5"},
                            {"general.sampling.top_k", -1}});
  EXPECT_EQ(model.sampling().temperature, 1.0f);
  EXPECT_EQ(model.sampling().top_p, 0.5f);
  EXPECT_EQ(model.sampling().top_k, 0);
}

TEST_F(PurposeOfAFile, DefaultsReplaceOnlyWhatTheySay) {
  const SamplingOptions options =
      SamplingDefaults{.temperature = 0.5f, .top_p = {}, .min_p = {}, .top_k = 7}.over(
          sampling_preset("chat"));
  EXPECT_EQ(options.temperature, 0.5f);
  EXPECT_EQ(options.top_p, 0.5f);  // the preset's
  EXPECT_EQ(options.top_k, 7);
  EXPECT_EQ(options.presence, 2.0f);
}

TEST_F(PurposeOfAFile, WhatMakesNoSenseIsRefusedByName) {
  const float nan = std::nanf("");
  const std::string temp = "general.sampling.temp", top_p = "general.sampling.top_p",
                    top_k = "general.sampling.top_k", min_p = "general.sampling.min_p";
  const auto refused = [&](const Metadata& metadata, std::vector<std::string> words) {
    words.push_back("in.gguf");
    words.push_back(metadata.begin()->first);
    expect_error(words, [&] { open(metadata); });
  };
  refused({{temp, nan}}, {"nan", "0 or more"});
  refused({{temp, -0.5f}}, {"-0.5", "0 or more"});
  refused({{temp, INFINITY}}, {"inf", "0 or more"});
  refused({{temp, true}}, {"true or false", "a number"});
  refused({{temp, "warm"}}, {"warm", "a number"});
  refused({{temp, ""}}, {"a number"});
  refused({{temp, "0.5 or so"}}, {"0.5 or so", "a number"});
  refused({{top_p, 1.5f}}, {"1.5", "between 0 and 1"});
  refused({{top_p, nan}}, {"nan"});
  refused({{min_p, 1.0f}}, {"less than 1"});
  refused({{top_k, 1.5f}}, {"1.5", "whole number"});
  refused({{top_k, nan}}, {"nan", "whole number"});
  refused({{top_k, 1e30f}}, {"whole number"});
  refused({{"anser.kind", 3}}, {"3", "a word"});
  refused({{"anser.kind", ""}}, {"a word"});
  refused({{"anser.kind", "story\x1b[2J"}}, {"\\x1b", "a word"});
  refused({{"anser.kind", std::string(33, 'a')}}, {"a word"});
}

TEST_F(PurposeOfAFile, GoesIntoEveryFileThatIsWritten) {
  const std::string in = file(
      {{"anser.kind", "story"}, {"general.sampling.temp", 0.8f}, {"general.sampling.top_k", 40}});
  const Model before = Model::open(in);
  SaveOptions how;
  how.type = DType::f16;
  save_gguf(before, dir_ / "1.gguf", how);
  save_safetensors(before, dir_ / "2.safetensors", how);
  save_gguf(Model::open(dir_ / "2.safetensors"), dir_ / "3.gguf", how);
  for (const char* name : {"1.gguf", "2.safetensors", "3.gguf"}) {
    const Model after = Model::open(dir_ / name);
    EXPECT_EQ(after.kind(), "story") << name;
    EXPECT_EQ(after.sampling(), before.sampling()) << name;
  }
  // What was not said is not made up.
  const TensorFile last = open_tensor_file(dir_ / "3.gguf");
  EXPECT_EQ(last.metadata.count("general.sampling.top_p"), 0u);
  EXPECT_EQ(last.metadata.at("general.sampling.top_k"), MetaValue(int64_t(40)));
}

TEST_F(PurposeOfAFile, KeysOfOtherSamplersStayInGguf) {
  const std::string in = file({{"general.sampling.penalty_repeat", 1.25f},
                               {"general.sampling.penalty_last_n", -1},
                               {"general.sampling.sequence", "top_k;temperature"}});
  SaveOptions how;
  how.type = DType::f16;
  save_gguf(Model::open(in), dir_ / "out.gguf", how);
  const auto metadata = open_tensor_file(dir_ / "out.gguf").metadata;
  EXPECT_EQ(metadata.at("general.sampling.penalty_repeat"), MetaValue(1.25));
  EXPECT_EQ(metadata.at("general.sampling.penalty_last_n"), MetaValue(int64_t(-1)));
  EXPECT_EQ(metadata.at("general.sampling.sequence"), MetaValue("top_k;temperature"));
}

}  // namespace
}  // namespace anser
