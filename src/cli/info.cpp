// anser info: what this program and machine are, or what a model is.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <memory>
#include <thread>

#include "anser/error.h"
#include "anser/version.h"
#include "base/blob.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cpu/dispatch.h"
#include "text/chat/builtin_templates.h"
#include "text/chat/choose_template.h"
#include "text/chat/template_file.h"

namespace anser {
namespace {

void line(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format("{:<16} {}\n", name, value);
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string text;
  while (std::getline(file, text)) {
    const size_t colon = text.find(": ");
    if (text.starts_with("model name") && colon != std::string::npos) return text.substr(colon + 2);
  }
  return "unknown";
}

std::string machine_card() {
  std::string out;
  line(out, "anser", version());
  line(out, "processor",
       fmt::format("{}, {} cores", processor_name(),
                   std::max(1u, std::thread::hardware_concurrency())));
  line(out, "memory",
       format_bytes(size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGE_SIZE))));

  std::vector<std::string> supported;
  for (const Kernels* kernels : supported_kernels()) supported.push_back(kernels->name);
  line(out, "kernels built", fmt::format("{}", fmt::join(built_kernels(), ", ")));
  line(out, "kernels usable", fmt::format("{}", fmt::join(supported, ", ")));
  line(out, "kernels chosen",
       fmt::format("{} (ANSER_ISA=NAME chooses another)", choose_kernels().name));
  const CudaDevices cuda = cuda_devices();
  line(out, "CUDA",
       cuda.usable.empty() ? "not used: " + cuda.why_none
                           : fmt::format("{}", fmt::join(cuda.usable, "; ")));
  line(out, "World vocabulary",
       Tokenizer::has_builtin_world()
           ? "built in"
           : "not built in: keep rwkv_vocab_v20230424.txt next to models");
  if (blob_default_model().empty()) {
    line(out, "embedded model", "none: every command needs -m MODEL");
  } else {
    const Model model = Model::embedded();
    line(out, "embedded model",
         fmt::format("{}, {}, {}{}", model.name(), model.type(),
                     format_bytes(blob_default_model().size()),
                     model.tells_stories() ? ", a story model" : ""));
  }
  return out;
}

// In the words of the options that change it.
std::string sampling_text(const SamplingDefaults& sampling) {
  std::vector<std::string> values;
  const auto add = [&](const char* name, const auto& value) {
    if (value) values.push_back(fmt::format("{} {}", name, *value));
  };
  add("temperature", sampling.temperature);
  add("top-p", sampling.top_p);
  add("top-k", sampling.top_k);
  add("min-p", sampling.min_p);
  return fmt::format("{}", fmt::join(values, ", "));
}

// Where it comes from, or why there is none.
std::string vocabulary_text(const Model& model) {
  try {
    return model.tokenizer().source();
  } catch (const Error& why) {
    return fmt::format("none that can be read: {}", why.what());
  }
}

std::string model_card(const Model& model) {
  const Hyperparameters& h = model.hyperparameters();
  const StateShape state{h.layers, h.width, h.heads, h.head_size};
  // Of the embedding, a token reads one row.
  const int64_t embedding = int64_t(h.vocab) * h.width;
  const double bytes_per_parameter = double(model.weight_bytes()) / double(model.parameters());
  const double token_bytes = double(model.parameters() - embedding) * bytes_per_parameter +
                             2.0 * 4 * double(state.floats());

  std::string out;
  line(out, "name", model.name());
  line(out, "path", model.path());
  line(out, "format",
       fmt::format("{}, weights {}{}", model.format(), model.type(),
                   model.type() == model.run_type() ? "" : ", run as " + model.run_type()));
  for (const std::string& adapter : model.adapters()) line(out, "adapter", adapter);
  line(out, "size",
       fmt::format("{} parameters, {}", format_count(model.parameters()),
                   format_bytes(model.file_bytes())));
  line(out, "layers",
       fmt::format("{} of width {}, {} heads of {}, channel mix {}", h.layers, h.width, h.heads,
                   h.head_size, h.ffn));
  line(out, "low ranks",
       fmt::format("decay {}, rate {}, value {}, gate {}", h.rank_w, h.rank_a, h.rank_v, h.rank_g));
  line(out, "vocabulary", fmt::format("{} tokens, {}", h.vocab, vocabulary_text(model)));
  line(out, "per token",
       fmt::format("about {} read and written", format_bytes(size_t(token_bytes))));
  line(out, "state",
       fmt::format("{} ({} numbers), whatever the length of the context",
                   format_bytes(4 * state.floats()), format_count(int64_t(state.floats()))));
  if (!model.kind().empty()) {
    line(out, "kind", model.kind() + (model.tells_stories() ? ": it cannot converse" : ""));
  }
  if (!model.tells_stories()) {
    const ChosenTemplate chosen = choose_template(model.chat_clues());
    line(out, "template", fmt::format("{}: {}", chosen.form.name, chosen.why));
    if (!chosen.note.empty()) say("anser: {}", chosen.note);
  }
  if (!model.sampling().empty()) line(out, "sampling", sampling_text(model.sampling()));
  line(out, "fingerprint", fmt::format("{:016x}", model.fingerprint()));
  return out;
}

}  // namespace

void add_info(CLI::App& app) {
  auto options = std::make_shared<ModelOptions>();
  auto form = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("info", "describe this machine and program or, with -m, a model");
  options->add_to(*command, false);
  command->get_option("--model")->description("a model file or folder");
  command
      ->add_option("--template", *form,
                   "print a built-in form of conversations as --template-file takes one, to begin "
                   "a form of your own with")
      ->check(CLI::IsMember(builtin_template_names()))
      ->excludes("--model");
  command->callback([options, form] {
    if (const ChatTemplate* built_in = find_builtin_template(*form)) {
      return write_out(template_json(*built_in));
    }
    if (options->model.empty() && !options->vocabulary.empty()) {
      throw CLI::ValidationError("--vocab", "this is about a model: name it with -m");
    }
    options->adapters.need_model(options->model);
    if (options->model.empty()) return write_out(machine_card());
    std::string card;
    {
      const Progress progress(fmt::format("loading {}", options->model));
      card = model_card(open_model(*options));
    }
    write_out(card);
  });
}

}  // namespace anser
