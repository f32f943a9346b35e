#include "checkpoint/gguf_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace anser {
namespace {

// GGUF's name and the original one. What ends in a dot goes on with weight or bias.
using Pair = std::pair<std::string_view, std::string_view>;

constexpr Pair kTop[] = {
    {"token_embd.", "emb."},
    {"token_embd_norm.", "blocks.0.ln0."},
    {"output_norm.", "ln_out."},
    {"output.", "head."},
};

constexpr Pair kInLayer[] = {
    {"attn_norm_2.", "ln2."},
    {"attn_norm.", "ln1."},
    {"time_mix_receptance.", "att.receptance."},
    {"time_mix_key.", "att.key."},
    {"time_mix_value.", "att.value."},
    {"time_mix_output.", "att.output."},
    {"time_mix_ln.", "att.ln_x."},
    {"time_mix_lerp_fused.weight", "att.x_x"},
    {"channel_mix_lerp_k.weight", "ffn.x_k"},
    {"channel_mix_key.", "ffn.key."},
    {"channel_mix_value.", "ffn.value."},
};

// Of all other tensors: w0 w1 w2 a0 ... k_k k_a r_k.
constexpr std::string_view kTimeMix = "time_mix_", kAtt = "att.", kEnding = ".weight";

bool take(std::string_view& name, std::string_view beginning) {
  if (!name.starts_with(beginning)) return false;
  name.remove_prefix(beginning.size());
  return true;
}

// "12.attn.x" -> "12", and `name` becomes "attn.x".
std::string_view take_number(std::string_view& name) {
  const std::string_view number = name.substr(0, name.find('.'));
  name.remove_prefix(std::min(number.size() + 1, name.size()));
  return number;
}

std::string rename(std::string_view name, std::string_view from, std::string_view to) {
  const bool fits = from.ends_with('.') ? name.starts_with(from) : name == from;
  return fits ? fmt::format("{}{}", to, name.substr(from.size())) : "";
}

template <size_t n>
std::string to_original(std::string_view name, const Pair (&table)[n]) {
  for (const auto& [gguf, original] : table) {
    if (std::string renamed = rename(name, gguf, original); !renamed.empty()) return renamed;
  }
  return "";
}

template <size_t n>
std::string to_gguf(std::string_view name, const Pair (&table)[n]) {
  for (const auto& [gguf, original] : table) {
    if (std::string renamed = rename(name, original, gguf); !renamed.empty()) return renamed;
  }
  return "";
}

}  // namespace

std::string original_from_gguf(std::string_view name) {
  if (!take(name, "blk.")) return to_original(name, kTop);
  const std::string_view number = take_number(name);
  std::string inside(name);
  // Early converters left the ending of vectors out.
  if (inside.find('.') == std::string::npos) inside += kEnding;
  if (std::string renamed = to_original(inside, kInLayer); !renamed.empty()) {
    return fmt::format("blocks.{}.{}", number, renamed);
  }
  std::string_view rest = inside;
  if (!take(rest, kTimeMix) || !rest.ends_with(kEnding)) return "";
  rest.remove_suffix(kEnding.size());
  constexpr std::string_view kLerp = "lerp_";
  const bool lerp = rest.starts_with(kLerp) && rest.size() == kLerp.size() + 1;
  return lerp ? fmt::format("blocks.{}.att.x_{}", number, rest.back())
              : fmt::format("blocks.{}.att.{}", number, rest);
}

std::string gguf_from_original(std::string_view name) {
  if (std::string top = to_gguf(name, kTop); !top.empty()) return top;
  std::string_view rest = name;
  if (!take(rest, "blocks.")) return std::string(name);
  const std::string_view number = take_number(rest);
  if (rest.starts_with("att.x_")) rest = "att.x_x";
  std::string inside = to_gguf(rest, kInLayer);
  if (inside.empty()) {
    take(rest, kAtt);
    inside = fmt::format("{}{}{}", kTimeMix, rest, kEnding);
  }
  return fmt::format("blk.{}.{}", number, inside);
}

}  // namespace anser
