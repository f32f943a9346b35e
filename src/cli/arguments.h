// What CLI11 takes in silence is honoured or refused here, once for all commands: empty values,
// numbers that are no decimal ones, `--name=` without a value, lists with gaps.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
class Validator;
}  // namespace CLI

namespace anser {

// To be called when all options of all commands are there. From then on
// - an empty value is refused, which is mostly a variable of a script that is not set;
// - numbers are decimal, finite and within 64 bits: "010" is ten, "0x10" and "nan" are refused.
void refuse_odd_values(CLI::App& app);

// For the few options whose empty value means something.
CLI::Option* may_be_empty(CLI::Option* option);

// Checks that a number is 1 or more, or 0 or more. CLI11's own name the largest double as the
// limit.
CLI::Validator positive();
CLI::Validator not_negative();

// The arguments, without the program's name, as CLI11 must get them: to it the value of `--name=`
// is the argument that follows. Throws CLI::ValidationError for `-n=5`, whose value to it is "=5".
std::vector<std::string> words_of(const CLI::App& app, int argc, char** argv);

// An option whose values are listed with commas, in one argument or in several of its kind. Throws
// for a list with an empty place, which CLI11's own delimiter skips.
CLI::Option* add_list(CLI::App& command, const std::string& names, std::vector<std::string>& to,
                      const std::string& description);
CLI::Option* add_list(CLI::App& command, const std::string& names, std::vector<int>& to,
                      const std::string& description);

// An environment variable that stands for an option; empty: it is not set. Throws
// CLI::ValidationError where it is set but has no value.
std::string from_environment(const char* name);

}  // namespace anser
