#include "checkpoint/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "anser/error.h"
#include "checkpoint/adapter_config.h"
#include "checkpoint/adapter_files.h"
#include "checkpoint/adapter_module.h"
#include "checkpoint/adapter_names.h"
#include "formats/checks.h"
#include "model/load_weights.h"
#include "model/tuned_state.h"

namespace anser {
namespace {

using Form = MatrixChange::Form;
using Shards = AdapterConfig::Shards;

int layer_of(const std::string& name) {
  return std::atoi(name.c_str() + std::string_view("blocks.").size());
}

// Which layers a set of tensors belongs to.
std::set<int> layers_of(const std::map<std::string, MatrixChange>& changes) {
  std::set<int> layers;
  for (const auto& [name, change] : changes) {
    if (name.starts_with("blocks.")) layers.insert(layer_of(name));
  }
  return layers;
}

class Opener {
 public:
  Opener(const Adapter& adapter, const Checkpoint& base, const std::string& base_path)
      : given_(adapter), base_(base), base_path_(base_path) {
    if (!std::isfinite(given_.scale)) fail(given_.path, "its scale is not a finite number");
    if (given_.alpha && !std::isfinite(*given_.alpha)) {
      fail(given_.path, "the alpha that is given for it is not a finite number");
    }
    for (const auto& [name, tensor] : base.tensors) own_names_.emplace(tensor.name, name);
  }

  OpenedAdapter open(std::vector<std::string>& notes, bool& alpha_used) {
    AdapterFiles files = open_adapter_files(given_.path);
    out_.path = std::move(files.path);
    out_.file = std::move(files.tensors);
    config_ = std::move(files.config);
    if (config_) notes.insert(notes.end(), config_->notes.begin(), config_->notes.end());
    check_is_adapter();
    for (const FileTensor& tensor : out_.file.tensors) take(tensor);
    find_start();
    ModuleChecker modules(given_, base_, out_, config_);
    for (auto& [name, change] : out_.changes) modules.finish(name, change);
    check_settings();
    describe(modules, notes);
    alpha_used |= modules.alpha_used();
    return std::move(out_);
  }

 private:
  void check_is_adapter() const {
    const TensorFile& file = out_.file;
    if (file.metadata.count("adapter.alora.invocation_tokens") != 0) {
      fail(out_.path, "an activated LoRA (adapter.alora.invocation_tokens), which is not merged");
    }
    if (find_adapter_tensor(file) != nullptr) return;
    if (has_tuned_state(file)) {
      // Training of a state may have changed norms and the like, too.
      if (find_beside_tuned_state(file) != nullptr) return;
      fail(out_.path, "no adapter but a tuned initial state: give it with --load-state");
    }
    fail(out_.path, "no adapter: none of its {} tensors is of one{}{}", file.tensors.size(),
         file.tensors.empty() ? "" : ", the first is " + printable(file.tensors[0].name),
         file.find("emb.weight") != nullptr ? ". It looks like a whole model, for -m" : "");
  }

  // The base's name of a tensor, or an Error.
  std::string base_name(const FileTensor& tensor, const std::string& name) const {
    std::string original = original_name(name);
    if (base_.tensors.count(original) != 0) return original;
    // In a layout that has names of its own the two share them.
    const auto at = own_names_.find(module_in_base(name));
    if (at != own_names_.end()) return at->second;
    fail(out_.path,
         "its tensor {} belongs to {}, and the base {} has no such tensor: it was made for another "
         "model",
         printable(tensor.name), printable(original), base_path_);
  }

  void take(const FileTensor& tensor) {
    const AdapterName name = parse_adapter_name(tensor.name);
    if (name.part == AdapterPart::unknown) {
      fail(out_.path, "its tensor {} is of {}, which is not merged", printable(tensor.name),
           name.method);
    }
    if (name.part == AdapterPart::none) return take_whole(tensor);
    expect_type(tensor, out_.path);
    const std::string target = base_name(tensor, name.module + ".weight");
    MatrixChange& change = out_.changes[target];
    if (change.module.empty()) change.module = name.module;
    put(slot(change, name.part), tensor, name.part, change);
  }

  static const FileTensor*& slot(MatrixChange& change, AdapterPart part) {
    switch (part) {
      case AdapterPart::lora_b:
      case AdapterPart::embedding_b:
        return change.b;
      case AdapterPart::init_a:
        return change.init_a;
      case AdapterPart::init_b:
        return change.init_b;
      case AdapterPart::magnitude:
        return change.magnitude;
      default:
        return change.a;
    }
  }

  void put(const FileTensor*& to, const FileTensor& tensor, AdapterPart part,
           MatrixChange& change) {
    if (to != nullptr) {
      fail(out_.path, "the tensors {} and {} are for the same place", printable(to->name),
           printable(tensor.name));
    }
    to = &tensor;
    Form form = Form::low_rank;
    if (part == AdapterPart::shards || part == AdapterPart::disha || part == AdapterPart::bone) {
      form = shards_form(tensor, part);
    }
    if (part == AdapterPart::package) form = Form::package;
    if (change.form != Form::none && change.form != form) {
      fail(out_.path, "the tensor {} is of another kind of adapter than others of its module",
           printable(tensor.name));
    }
    change.form = form;
    change.embedding |= part == AdapterPart::embedding_a || part == AdapterPart::embedding_b;
  }

  Form shards_form(const FileTensor& tensor, AdapterPart part) const {
    const bool blocks = tensor.shape.size() == 3;
    if (!config_) {
      // Old Bone files of two dimensions are [in][r]; RWKV-PEFT itself no longer reads them.
      if (part == AdapterPart::bone && !blocks) {
        fail(out_.path,
             "the tensor {} of shape {} is of an early kind of Bone, which is not merged",
             printable(tensor.name), tensor.shape_text());
      }
      if (!blocks) return Form::shards;
      return part == AdapterPart::shards ? Form::row_blocks : Form::column_blocks;
    }
    if (blocks != (config_->shards == Shards::blocks)) {
      fail(out_.path, "the tensor {} has shape {}, which is not that of its init_weights",
           printable(tensor.name), tensor.shape_text());
    }
    if (blocks) return Form::row_blocks;
    return config_->shards == Shards::repeated ? Form::repeated_shards : Form::shards;
  }

  // A tensor under an ordinary name takes the place of the base's.
  void take_whole(const FileTensor& tensor) {
    if (tensor.name.ends_with(".att.time_state") || tensor.name.ends_with(".att.ts_state")) {
      out_.has_states = true;
      return;
    }
    std::string plain = tensor.name;
    // PEFT's wrappers of modules that are trained as a whole.
    for (const std::string_view wrapper :
         {".modules_to_save.default", ".modules_to_save", ".base_layer"}) {
      const size_t at = plain.find(wrapper);
      if (at != std::string::npos) plain.erase(at, wrapper.size());
    }
    const std::string name = base_name(tensor, plain);
    refuse_unused(tensor, name);
    expect_type(tensor, out_.path);
    const FileTensor& old = base_.tensors.at(name);
    FileTensor fitted = tensor;
    if (is_matrix(name)) {
      fit_matrix(name, old, fitted);
    } else if (fitted.elements() != old.elements()) {
      wrong_shape(tensor, shape_text(old.shape), out_.path);
    }
    check_finite(fitted, out_.path);
    if (!out_.whole.emplace(name, std::move(fitted)).second) {
      fail(out_.path, "it holds {} twice", name);
    }
  }

  // What the base's file holds, but its description takes out of the computation.
  void refuse_unused(const FileTensor& tensor, const std::string& name) const {
    const Description& says = base_.says;
    const char* why = nullptr;
    if (!says.embedding_norm && name.starts_with("blocks.0.ln0.")) {
      why = "its embedding holds what ln0 makes of it (embedding_layer_norm_fused)";
    } else if (!says.norm_bias && name.ends_with(".bias") && !name.ends_with("ln_x.bias")) {
      why = "its layer norms have no biases (norm_bias)";
    }
    if (why == nullptr) return;
    fail(out_.path,
         "its tensor {} changes nothing in the base {}: {}. It was made for another model",
         printable(tensor.name), base_path_, why);
  }

  // The base may store low-rank matrices the other way round.
  void fit_matrix(const std::string& name, const FileTensor& old, FileTensor& tensor) const {
    if (tensor.shape.size() == 2 && old.shape.size() == 2 && is_low_rank(name)) {
      const bool out_in = tensor.name.find("_lora.lora.") != std::string::npos;
      const bool square = old.shape[0] == old.shape[1];
      const bool turned = tensor.shape[0] == old.shape[1] && tensor.shape[1] == old.shape[0];
      if (square ? out_in != base_.low_rank_out_in : turned) {
        std::swap(tensor.shape[0], tensor.shape[1]);
        std::swap(tensor.strides[0], tensor.strides[1]);
      }
    }
    if (tensor.shape != old.shape) wrong_shape(tensor, old.shape_text(), out_.path);
  }

  // PiSSA: what training began with is in a file of its own.
  void find_start() {
    const bool has_start = std::any_of(out_.changes.begin(), out_.changes.end(), [](auto& one) {
      return one.second.init_a != nullptr || one.second.init_b != nullptr;
    });
    const bool low_rank = std::any_of(out_.changes.begin(), out_.changes.end(),
                                      [](auto& one) { return one.second.form == Form::low_rank; });
    std::string path = given_.init;
    if (path.empty()) {
      const std::optional<std::string> beside = find_pissa_start(out_.path);
      if (config_ || has_start || !low_rank || !beside) return;
      path = *beside;
      if (given_.alpha) {
        fail(out_.path,
             "{} lies beside it, so it was trained with PiSSA, which has no alpha: leave the alpha "
             "out, or move one of the files if they do not belong together",
             path);
      }
    }
    if (has_start) fail(out_.path, "it holds what PiSSA began with, and {} does, too", path);
    if (!low_rank || config_) {
      fail(out_.path, "{} is given for it, but it was not trained with PiSSA", path);
    }
    out_.init = open_tensor_file(path);
    for (const FileTensor& tensor : out_.init.tensors) {
      const AdapterName name = parse_adapter_name(tensor.name);
      if (name.part != AdapterPart::init_a && name.part != AdapterPart::init_b) {
        fail(path, "the tensor {} is not one of those that PiSSA began with, init_lora_A and _B",
             printable(tensor.name));
      }
      const auto at = out_.changes.find(base_name(tensor, name.module + ".weight"));
      if (at == out_.changes.end()) {
        fail(path, "the tensor {} is for a module that {} does not change", printable(tensor.name),
             out_.path);
      }
      expect_type(tensor, path);
      put(slot(at->second, name.part), tensor, name.part, at->second);
    }
  }

  void check_settings() const {
    if (!config_) return;
    for (const std::string& module : config_->modules_to_save) {
      const auto is_of = [&](const FileTensor& tensor) {
        const std::string name = "." + tensor.name + ".";
        return name.find("." + module + ".") != std::string::npos &&
               parse_adapter_name(tensor.name).part == AdapterPart::none;
      };
      if (std::none_of(out_.file.tensors.begin(), out_.file.tensors.end(), is_of)) {
        fail(out_.path,
             "modules_to_save names {}, and the file has no tensor of it: it is not "
             "whole",
             printable(module));
      }
    }
  }

  void describe(const ModuleChecker& modules, std::vector<std::string>& notes) {
    std::string text = adapter_method(out_.file);
    if (!out_.init.path.empty()) text = "PiSSA";
    if (out_.changes.empty()) text = "no adapter";
    const std::set<int64_t>& ranks = modules.ranks();
    if (!ranks.empty()) {
      text += *ranks.begin() == *ranks.rbegin()
                  ? fmt::format(" of rank {}", *ranks.begin())
                  : fmt::format(" of ranks {} to {}", *ranks.begin(), *ranks.rbegin());
    }
    if (modules.alphas().size() == 1) {
      text += fmt::format(", alpha {:g}", *modules.alphas().begin());
    }
    if (given_.scale != 1) text += fmt::format(", times {:g}", given_.scale);
    text += fmt::format(", {} matrices", out_.changes.size());
    if (!out_.whole.empty()) text += fmt::format(", {} whole tensors", out_.whole.size());
    if (out_.has_states) text += ", an initial state";
    out_.text = std::move(text);

    const bool embedding = out_.changes.count("emb.weight") + out_.whole.count("emb.weight") > 0;
    if (embedding && base_.head_is_embedding()) {
      notes.push_back(
          fmt::format("{}: it changes the embedding, which is also the head of {} "
                      "(tie_word_embeddings): only the embedding is changed",
                      out_.path, base_path_));
    }
    if (!out_.whole.empty() && given_.scale != 1) {
      notes.push_back(
          fmt::format("{}: the scale {:g} is not applied to its {} whole tensors, {} first",
                      out_.path, given_.scale, out_.whole.size(), out_.whole.begin()->first));
    }
    const std::set<int> layers = layers_of(out_.changes);
    const int last = base_layers();
    if (!layers.empty() && *layers.rbegin() < last && !(config_ && config_->some_layers)) {
      notes.push_back(
          fmt::format("{}: it changes layers {} to {} of {} only; is it for this model?", out_.path,
                      *layers.begin(), *layers.rbegin(), last + 1));
    }
  }

  int base_layers() const {
    int last = 0;
    for (const auto& [name, tensor] : base_.tensors) {
      if (name.starts_with("blocks.")) last = std::max(last, layer_of(name));
    }
    return last;
  }

  const Adapter& given_;
  const Checkpoint& base_;
  const std::string& base_path_;
  std::map<std::string, std::string> own_names_;  // of the base's file -> original
  OpenedAdapter out_;
  std::optional<AdapterConfig> config_;
};

}  // namespace

std::vector<OpenedAdapter> open_adapters(std::span<const Adapter> adapters, Checkpoint& base,
                                         const std::string& base_path,
                                         std::vector<std::string>& notes) {
  std::vector<OpenedAdapter> opened;
  opened.reserve(adapters.size());
  std::map<std::string, const OpenedAdapter*> changed, replaced;
  bool alpha_given = false, alpha_used = false;
  for (const Adapter& adapter : adapters) {
    alpha_given |= adapter.alpha.has_value();
    opened.push_back(Opener(adapter, base, base_path).open(notes, alpha_used));
    const OpenedAdapter& one = opened.back();
    // A whole tensor would wipe out what the others do to it.
    const auto check = [&](const auto& tensors, const auto& others) {
      for (const auto& [name, tensor] : tensors) {
        const auto at = others.find(name);
        if (at == others.end()) continue;
        fail(one.path,
             "it and {} both change {}, one of them by putting a whole tensor in its "
             "place",
             at->second->path, name);
      }
    };
    check(one.whole, replaced);
    check(one.whole, changed);
    check(one.changes, replaced);
    for (const auto& [name, change] : one.changes) changed[name] = &one;
    for (const auto& [name, tensor] : one.whole) replaced[name] = &one;
  }
  if (alpha_given && !alpha_used) {
    throw Error(
        fmt::format("{}: an alpha is given for it (--lora-alpha), but it does not need "
                    "one: leave it out",
                    opened.front().path));
  }
  const OpenedAdapter* state = nullptr;
  for (const OpenedAdapter& one : opened) {
    for (const auto& [name, tensor] : one.whole) base.tensors[name] = tensor;
    if (one.has_states && std::exchange(state, &one) != nullptr) {
      fail(one.path,
           "it brings an initial state, as another adapter does: a context can begin with "
           "one only");
    }
  }
  return opened;
}

void refuse_adapter(const TensorFile& file) {
  const FileTensor* found = find_adapter_tensor(file);
  if (found == nullptr) return;
  const std::string method = adapter_method(file);
  if (holds_rwkv7(file)) {
    fail(file.path,
         "the model has a {} adapter inside that is not merged into its weights ({}): merge it "
         "where it was trained, or save the adapter in a file of its own and give it with --lora",
         method, printable(found->name));
  }
  fail(file.path,
       "a {} adapter ({}), not a model: give the model that it was trained on with -m and this "
       "with --lora",
       method, printable(found->name));
}

}  // namespace anser
