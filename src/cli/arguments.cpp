#include "cli/arguments.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

namespace anser {
namespace {

constexpr char kMayBeEmpty[] = "may be empty";

template <class Number>
bool is_whole(std::string_view digits) {
  Number number;
  const char* const end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, number);
  return error == std::errc() && at == end;
}

bool is_finite(std::string_view digits) {
  double number;
  const char* const end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, number);
  return error == std::errc() && at == end && std::isfinite(number);
}

// Leaves a number as CLI11 reads it rightly: to it a 0 in front makes an octal one.
std::string check_number(std::string& value, bool whole) {
  std::string digits = value;
  if (digits.starts_with('+') && !digits.starts_with("+-")) digits.erase(0, 1);
  // Seeds below 0 are those above 2^63, here and in the API.
  const bool good =
      whole ? is_whole<uint64_t>(digits) || is_whole<int64_t>(digits) : is_finite(digits);
  if (!good) {
    return fmt::format("expected a {} number in decimal digits, found {}",
                       whole ? "whole" : "finite", value);
  }
  const size_t sign = digits.starts_with('-') ? 1 : 0;
  while (digits.size() > sign + 1 && digits[sign] == '0' && std::isdigit(digits[sign + 1])) {
    digits.erase(sign, 1);
  }
  value = digits;
  return {};
}

CLI::Validator at_least(int least, const char* name) {
  return CLI::Validator(
      [least](const std::string& value) -> std::string {
        double number = 0;
        std::from_chars(value.data(), value.data() + value.size(), number);
        if (number >= least) return {};
        return fmt::format("expected {} or more, found {}", least, value);
      },
      name);
}

bool is_allowed_empty(const CLI::Option& option) {
  try {
    return const_cast<CLI::Option&>(option).get_validator(kMayBeEmpty) != nullptr;
  } catch (const CLI::OptionNotFound&) {
    return false;
  }
}

template <class Visit>
void visit_options(const CLI::App& app, const Visit& visit) {
  for (const CLI::Option* option : app.get_options()) visit(*option);
  // Commands, and groups of options, which some versions list a second time: that does no harm.
  for (const CLI::App* sub : app.get_subcommands(nullptr)) visit_options(*sub, visit);
}

// Calls take(text) for all that stands between commas.
template <class Take>
void split_list(const std::string& names, const std::string& list, const Take& take) {
  size_t begin = 0;
  for (;;) {
    const size_t end = std::min(list.find(',', begin), list.size());
    if (end == begin) {
      throw CLI::ValidationError(
          names, fmt::format("expected values with one comma between two, found {}", list));
    }
    take(list.substr(begin, end - begin));
    if (end == list.size()) return;
    begin = end + 1;
  }
}

template <class Value, class Read>
CLI::Option* add_any_list(CLI::App& command, const std::string& names, std::vector<Value>& to,
                          const std::string& description, const Read& read) {
  const std::string name = names.substr(names.rfind(',') + 1);
  auto* option = command.add_option_function<std::vector<std::string>>(
      names,
      [&to, name, read](const std::vector<std::string>& lists) {
        to.clear();
        for (const std::string& list : lists) {
          split_list(name, list, [&](std::string text) { to.push_back(read(name, text)); });
        }
      },
      description);
  return option->allow_extra_args(false)->type_name("LIST");
}

}  // namespace

void refuse_odd_values(CLI::App& app) {
  visit_options(app, [](const CLI::Option& constant) {
    CLI::Option& option = const_cast<CLI::Option&>(constant);
    if (option.get_items_expected_max() == 0) return;  // a flag
    const std::string type = option.get_type_name();
    const bool whole = type.starts_with("INT") || type.starts_with("UINT");
    const bool number = whole || type.starts_with("FLOAT");
    const bool empty = is_allowed_empty(option);
    // transform(): in front of the option's own checks.
    option.transform(CLI::Validator(
        [=](std::string& value) -> std::string {
          if (value.empty() && !empty) {
            return "the value is empty: give one, or leave the option out";
          }
          return number ? check_number(value, whole) : std::string();
        },
        ""));
  });
}

CLI::Option* may_be_empty(CLI::Option* option) {
  return option->check([](const std::string&) { return std::string(); }, "", kMayBeEmpty);
}

CLI::Validator positive() {
  return at_least(1, "POSITIVE");
}
CLI::Validator not_negative() {
  return at_least(0, "NONNEGATIVE");
}

std::vector<std::string> words_of(const CLI::App& app, int argc, char** argv) {
  std::set<std::string> valued;  // "--name", "-n"
  visit_options(app, [&](const CLI::Option& option) {
    if (option.get_items_expected_max() == 0) return;
    for (const std::string& name : option.get_lnames()) valued.insert("--" + name);
    for (const std::string& name : option.get_snames()) valued.insert("-" + name);
  });
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") {
      words.insert(words.end(), argv + i, argv + argc);
      break;
    }
    if (word.ends_with('=') && valued.contains(word.substr(0, word.size() - 1))) {
      words.push_back(word.substr(0, word.size() - 1));
      words.emplace_back();
      continue;
    }
    if (word.size() > 3 && word[2] == '=' && valued.contains(word.substr(0, 2))) {
      throw CLI::ValidationError(fmt::format("{0}: expected {1} {2} or {1}{2}, found an =", word,
                                             word.substr(0, 2), word.substr(3)));
    }
    words.push_back(word);
    if (valued.contains(word) && i + 1 < argc) words.emplace_back(argv[++i]);
  }
  return words;
}

CLI::Option* add_list(CLI::App& command, const std::string& names, std::vector<std::string>& to,
                      const std::string& description) {
  return add_any_list(command, names, to, description,
                      [](const std::string&, const std::string& text) { return text; });
}

CLI::Option* add_list(CLI::App& command, const std::string& names, std::vector<int>& to,
                      const std::string& description) {
  return add_any_list(
      command, names, to, description, [](const std::string& name, const std::string& text) {
        int number = 0;
        const char* const end = text.data() + text.size();
        const auto [at, error] = std::from_chars(text.data(), end, number);
        if (error != std::errc() || at != end) {
          throw CLI::ValidationError(
              name, fmt::format("expected whole numbers with commas between them, found {}", text));
        }
        return number;
      });
}

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return {};
  if (*value == '\0') {
    throw CLI::ValidationError(fmt::format(
        "the environment variable {} is set but empty: unset it, or give it a value", name));
  }
  return value;
}

}  // namespace anser
