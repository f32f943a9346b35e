// Which file of a folder it is that counts.
#include <filesystem>

#include "model/hugging_face_fixture.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

TEST_F(HuggingFace, AShardOpensTheWholeModel) {
  const std::string path = folder({.layout = HfLayout::v1, .shards = 3});
  for (const char* shard :
       {"/model-00001-of-00003.safetensors", "/model-00003-of-00003.safetensors"}) {
    expect_reference(path + shard);
    const Model opened = Model::open(path + shard);
    ASSERT_EQ(opened.notes().size(), 1u);
    EXPECT_NE(opened.notes()[0].find("3 shards"), std::string::npos) << opened.notes()[0];
  }
  // Without the index names tell, of the folder, too.
  fs::remove(path + "/model.safetensors.index.json");
  expect_reference(path + "/model-00002-of-00003.safetensors");
  expect_reference(path);
  fs::remove(path + "/model-00003-of-00003.safetensors");
  expect_error({"3 shards", "model-00003-of-00003.safetensors"},
               [&] { Model::open(path + "/model-00001-of-00003.safetensors"); });
}

TEST_F(HuggingFace, AnIndexThatIsStaleDoesNotWin) {
  const std::string path = folder({.layout = HfLayout::rwkv7, .shards = 2});
  const std::string other = folder({.layout = HfLayout::rwkv7}, random_model(kShape, 2));
  // The complete file comes first, whether the shards are there or not.
  fs::copy(file(other), file(path));
  const auto bits = all_logits(other, ids_);
  EXPECT_EQ(all_logits(path, ids_), bits);
  fs::remove(path + "/model-00002-of-00002.safetensors");
  EXPECT_EQ(all_logits(path, ids_), bits);
  EXPECT_EQ(all_logits(file(path), ids_), bits);
  EXPECT_TRUE(Model::open(path).notes().empty());
  // A pickle after a broken index of safetensors.
  fs::remove(file(path));
  expect_error({"1 of the 2 shards"}, [&] { Model::open(path); });
  RandomModel renamed = random_model(kShape, 2);
  for (Tensor& tensor : renamed.tensors) {
    if (tensor.name != "head.weight") tensor.name = "rwkv7." + tensor.name;
  }
  write_pth_raw(path + "/pytorch_model.bin", renamed.tensors, {.type = Float::f32});
  EXPECT_EQ(all_logits(path, ids_), bits);
  EXPECT_EQ(all_logits(path + "/pytorch_model.bin", ids_), bits);
  const Model opened = Model::open(path);
  ASSERT_EQ(opened.notes().size(), 1u);
  EXPECT_NE(opened.notes()[0].find("index.json"), std::string::npos);
}

}  // namespace
}  // namespace anser
