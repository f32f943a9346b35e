#include "checkpoint/adapter_module.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>
#include <vector>

#include "checkpoint/adapter_files.h"
#include "checkpoint/adapter_names.h"
#include "formats/checks.h"
#include "model/load_weights.h"

namespace anser {
namespace {

using Form = MatrixChange::Form;

std::optional<double> gguf_number(const TensorFile& file, const char* key) {
  const auto at = file.metadata.find(key);
  if (at == file.metadata.end()) return std::nullopt;
  if (const auto* value = std::get_if<double>(&at->second)) return *value;
  if (const auto* value = std::get_if<int64_t>(&at->second)) return double(*value);
  return std::nullopt;
}

}  // namespace

void check_finite(const FileTensor& tensor, const std::string& path) {
  for (const float x : widen(tensor)) {
    if (!std::isfinite(x)) {
      fail(path, "tensor {}: {}; the file is damaged or a training run diverged",
           printable(tensor.name), not_finite_name(x));
    }
  }
}

void ModuleChecker::need(const FileTensor* tensor, const MatrixChange& change,
                         const char* what) const {
  if (tensor == nullptr) {
    fail(adapter_.path, "the module {} has no {}: the file is not whole", printable(change.module),
         what);
  }
}

void ModuleChecker::finish(const std::string& name, MatrixChange& change) {
  const FileTensor& matrix = base_.tensors.at(name);
  if (matrix.shape.size() != 2 || !is_matrix(name)) {
    fail(adapter_.path, "{} is no matrix in the base, so the module {} has no place in it", name,
         printable(change.module));
  }
  if (config_ &&
      (config_->method == AdapterConfig::Method::lora) != (change.form == Form::low_rank)) {
    fail(adapter_.path, "the tensor {} is not of the method that the settings beside it name",
         printable(change.a != nullptr ? change.a->name : change.module));
  }
  // Of the layer; a low-rank matrix of the model may be stored the other way round.
  int64_t out = matrix.shape[0], in = matrix.shape[1];
  if (is_low_rank(name) && !base_.low_rank_out_in) std::swap(out, in);
  if (change.embedding) std::swap(out, in);
  if (change.form == Form::low_rank) {
    finish_low_rank(change, out, in);
  } else {
    finish_shards(change, out, in);
  }
  change.scale *= given_.scale;
}

void ModuleChecker::finish_low_rank(MatrixChange& change, int64_t out, int64_t in) {
  need(change.a, change, "lora_A");
  need(change.b, change, "lora_B");
  const int64_t rank = check_pair(*change.a, *change.b, out, in, adapter_.path);
  const bool pissa = change.init_a != nullptr || change.init_b != nullptr;
  if (pissa) {
    need(change.init_a, change, "init_lora_A");
    need(change.init_b, change, "init_lora_B");
    const std::string& path = adapter_.init.path.empty() ? adapter_.path : adapter_.init.path;
    check_pair(*change.init_a, *change.init_b, out, in, path);
  } else if (!adapter_.init.path.empty()) {
    fail(adapter_.init.path, "it lacks init_lora_A and init_lora_B of the module {}",
         printable(change.module));
  }
  ranks_.insert(rank);
  const std::string module = module_in_base(change.module);
  if (config_ && config_->rank_of(module) != double(rank)) {
    fail(adapter_.path, "the tensor {} has rank {}, and the settings beside it say {}",
         printable(change.a->name), rank, config_->rank_of(module));
  }
  const bool wants_magnitude = config_ && config_->magnitudes;
  if (config_ && wants_magnitude != (change.magnitude != nullptr)) {
    fail(adapter_.path, "the module {} has {} lora_magnitude_vector, and use_dora is {}",
         printable(change.module), wants_magnitude ? "no" : "a", wants_magnitude);
  }
  if (change.magnitude != nullptr) {
    if (change.embedding) fail(adapter_.path, "DoRA of an embedding is not merged");
    if (change.magnitude->elements() != out) {
      wrong_shape(*change.magnitude, fmt::format("[{}]", out), adapter_.path);
    }
    check_finite(*change.magnitude, adapter_.path);
  }
  if (pissa) return;
  if (config_) {
    change.scale = config_->scale_of(module, double(rank));
    alphas_.insert(config_->alpha_of(module));
    return;
  }
  std::optional<double> alpha = gguf_number(adapter_.file, "adapter.lora.alpha");
  if (!alpha || *alpha == 0) {
    alpha = given_.alpha;
    alpha_used_ |= alpha.has_value();
    change.may_be_pissa = adapter_.file.format != FileFormat::gguf;
  }
  if (!alpha) {
    fail(adapter_.path,
         "the file does not say with which alpha it was trained; --lora-alpha N does (RWKV-PEFT "
         "writes none; its merge.py takes 16). If it was trained with PiSSA it needs the {} of "
         "the same training, beside it or named with --lora-init",
         kPissaStart);
  }
  change.scale = *alpha / double(rank);
  alphas_.insert(*alpha);
}

int64_t ModuleChecker::check_pair(const FileTensor& a, const FileTensor& b, int64_t out, int64_t in,
                                  const std::string& path) const {
  const int64_t rank = a.shape.size() == 2 ? a.shape[0] : 0;
  if (rank < 1 || a.shape[1] != in) wrong_shape(a, fmt::format("[rank, {}]", in), path);
  if (b.shape.size() != 2 || b.shape[0] != out || b.shape[1] != rank) {
    wrong_shape(b, fmt::format("[{}, {}]", out, rank), path);
  }
  check_finite(a, path);
  check_finite(b, path);
  return rank;
}

void ModuleChecker::finish_shards(MatrixChange& change, int64_t out, int64_t in) {
  const FileTensor& d = *change.a;
  if (change.form == Form::package) {
    if (!config_ || !config_->scale) {
      fail(adapter_.path,
           "it is of a MiSS package without its settings: expected adapter.json beside "
           "adapter.pth, or miss.json inside");
    }
  }
  if (config_ && config_->scale) change.scale = *config_->scale;
  const auto shape = [&](std::vector<int64_t> expected) {
    if (d.shape != expected) wrong_shape(d, shape_text(expected), adapter_.path);
  };
  int64_t rank = d.shape.empty() ? 0 : d.shape[0];
  const bool blocks = change.form == Form::column_blocks || change.form == Form::row_blocks;
  if (blocks || change.form == Form::package) rank = d.shape.back();
  if (rank < 1 || rank > in) {
    fail(adapter_.path, "the tensor {} has shape {}, whose rank is not from 1 to the width {}",
         printable(d.name), d.shape_text(), in);
  }
  if (blocks) {
    const int64_t along = change.form == Form::column_blocks ? in : out;
    if (in % rank != 0 || out % rank != 0) {
      fail(adapter_.path, "the tensor {}: {} x {} is not made of blocks of {}", printable(d.name),
           out, in, rank);
    }
    shape({along / rank, rank, rank});
  } else if (change.form == Form::package) {
    shape({out, rank});
  } else if (change.form == Form::repeated_shards) {
    shape({rank, config_->repeat});
    if (out % config_->repeat != 0) {
      fail(adapter_.path, "the module {} has {} outputs, which is not a multiple of mini_r, {}",
           printable(change.module), out, config_->repeat);
    }
  } else {
    shape({rank, out});
  }
  if (config_ && config_->rank_of(module_in_base(change.module)) != double(rank)) {
    fail(adapter_.path, "the tensor {} has rank {}, and the settings beside it say {}",
         printable(d.name), rank, config_->rank_of(module_in_base(change.module)));
  }
  check_finite(d, adapter_.path);
  ranks_.insert(rank);
}

}  // namespace anser
