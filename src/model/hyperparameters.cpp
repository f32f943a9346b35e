#include "model/hyperparameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>
#include <utility>

#include "anser/error.h"
#include "model/limits.h"

namespace anser {
namespace {

// Far beyond any model; keeps every product of two sizes inside 64 bits and every size inside an
// int.
constexpr int64_t kMaxSize = int64_t(1) << 24;
constexpr int64_t kMaxLayers = 1024;

class Shapes {
 public:
  Shapes(const Checkpoint& checkpoint, const std::string& path)
      : checkpoint_(checkpoint), path_(path) {}

  const FileTensor* find(const std::string& name) const {
    const auto at = checkpoint_.tensors.find(name);
    return at == checkpoint_.tensors.end() ? nullptr : &at->second;
  }

  const FileTensor& get(const std::string& name) const {
    if (const FileTensor* tensor = find(name)) return *tensor;
    throw Error(fmt::format("{}: tensor {} is missing", path_, checkpoint_.name_in_file(name)));
  }

  // Rows and columns of a matrix.
  std::pair<int, int> matrix(const std::string& name) const {
    const FileTensor& tensor = get(name);
    if (tensor.shape.size() != 2) {
      throw Error(fmt::format("{}: tensor {}: expected a matrix, found shape {}", path_,
                              tensor.name, tensor.shape_text()));
    }
    for (const int64_t size : tensor.shape) {
      if (size < 1 || size > kMaxSize) {
        throw Error(fmt::format("{}: tensor {}: shape {} is outside 1 to {}", path_, tensor.name,
                                tensor.shape_text(), kMaxSize));
      }
    }
    return {int(tensor.shape[0]), int(tensor.shape[1])};
  }

  // Width of a low-rank pair: the side of x1 that is not the model's width.
  int rank(const std::string& name) const {
    const auto [rows, cols] = matrix(name);
    return checkpoint_.low_rank_out_in ? rows : cols;
  }

  int layers() const {
    int64_t last = -1;
    for (const auto& [name, tensor] : checkpoint_.tensors) {
      int64_t number;
      if (!name.starts_with("blocks.")) continue;
      const char* begin = name.data() + 7;
      const auto [end, error] = std::from_chars(begin, name.data() + name.size(), number);
      if (error != std::errc() || end == begin || *end != '.') continue;
      last = std::max(last, number);
    }
    if (last < 0) {
      throw Error(fmt::format("{}: it has an embedding and no layers: expected {} and so on", path_,
                              checkpoint_.name_in_file("blocks.0.ln1.weight")));
    }
    if (last >= kMaxLayers) {
      throw Error(fmt::format("{}: it has a tensor of layer {}; at most {} layers are accepted",
                              path_, last, kMaxLayers));
    }
    return int(last + 1);
  }

 private:
  const Checkpoint& checkpoint_;
  const std::string& path_;
};

}  // namespace

Hyperparameters hyperparameters_from_shapes(const Checkpoint& checkpoint, const std::string& path) {
  const Shapes shapes(checkpoint, path);
  Hyperparameters h{};
  std::tie(h.vocab, h.width) = shapes.matrix("emb.weight");
  h.layers = shapes.layers();
  h.ffn = shapes.matrix("blocks.0.ffn.key.weight").first;
  h.rank_w = shapes.rank("blocks.0.att.w1");
  h.rank_a = shapes.rank("blocks.0.att.a1");
  h.rank_g = shapes.rank("blocks.0.att.g1");
  // Layer 0 has no value residual; its v tensors, where present, are dummies of any width.
  h.rank_v = h.layers > 1 ? shapes.rank("blocks.1.att.v1") : 0;

  // r_k is [heads][head size], except in GGUF, which stores it flat and the head size beside it.
  const FileTensor& r_k = shapes.get("blocks.0.att.r_k");
  const Description& says = checkpoint.says;
  int64_t head_size = says.head_size.value_or(64);
  if (!says.head_size && says.heads && *says.heads > 0) head_size = h.width / *says.heads;
  if (r_k.shape.size() == 2) head_size = r_k.shape[1];
  if (head_size < 1 || head_size > kMaxHeadSize || h.width % head_size != 0 ||
      r_k.elements() != h.width) {
    throw Error(fmt::format(
        "{}: tensor {}: shape {} does not give heads of a width {}: expected [{} / n, n] with n at "
        "most {}",
        path, r_k.name, r_k.shape_text(), h.width, h.width, kMaxHeadSize));
  }
  h.head_size = int(head_size);
  h.heads = h.width / h.head_size;

  const auto agree = [&](const char* what, std::optional<int64_t> said, int64_t found) {
    if (said && *said != found) {
      throw Error(fmt::format("{}: the file's {} is {}, but its tensors have {}", says.source, what,
                              *said, found));
    }
  };
  agree("number of layers", says.layers, h.layers);
  agree("width", says.width, h.width);
  agree("width of attention", says.attention_width, h.width);
  agree("vocabulary size", says.vocab, h.vocab);
  agree("feed-forward width", says.ffn, h.ffn);
  agree("head size", says.head_size, h.head_size);
  agree("number of heads", says.heads, h.heads);
  agree("rank of the decay", says.rank_w, h.rank_w);
  agree("rank of the in-context rate", says.rank_a, h.rank_a);
  if (h.layers > 1) agree("rank of the value residual", says.rank_v, h.rank_v);
  agree("rank of the gate", says.rank_g, h.rank_g);

  const auto epsilon = [&](const char* what, std::optional<double> said, float& eps) {
    if (!said) return;
    if (!(*said > 0 && *said < 1)) {
      throw Error(fmt::format("{}: the file's {} is {}, expected a small number", says.source, what,
                              *said));
    }
    eps = float(*said);
  };
  epsilon("layer norm epsilon", says.norm_eps, h.norm_eps);
  std::optional<double> group_norm_eps = says.group_norm_eps;
  if (!group_norm_eps && says.group_norm_eps_by_head) {
    group_norm_eps = says.norm_eps.value_or(h.norm_eps) * h.head_size;
  }
  epsilon("group norm epsilon", group_norm_eps, h.group_norm_eps);
  h.embedding_norm = says.embedding_norm;
  return h;
}

}  // namespace anser
