#include "server/api_keys.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "anser/error.h"

namespace anser {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr size_t kMostBytes = size_t(1) << 20;  // of a file

// Takes the same time wherever they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= unsigned(uint8_t(a[i]) ^ uint8_t(b.empty() ? 0 : b[i % b.size()]));
  }
  return difference == 0;
}

bool is_control(unsigned char c) {
  return c < 0x20 || c == 0x7f;
}

void check_key(std::string_view key) {
  if (key.find_first_not_of(kBlanks) == key.npos) {
    throw Error("an API key is empty: everybody would know it. Give one, or leave it out");
  }
  if (std::ranges::any_of(key, is_control)) {
    throw Error("an API key has a control character in it, which no client can send");
  }
  if (key.front() == ' ' || key.back() == ' ') {
    throw Error("an API key has a blank before or behind it, which no client can send");
  }
}

void check_name(std::string_view name) {
  const auto is_ordinary = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.@+").find(char(c)) != std::string_view::npos;
  };
  if (name.size() > 100 || !std::ranges::all_of(name, is_ordinary)) {
    throw Error(
        "the name of an API key's holder is not of 1 to 100 letters, digits and -_.@+ (is it "
        "the key? The name comes first, then the key)");
  }
}

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  for (;;) {
    const size_t begin = line.find_first_not_of(kBlanks);
    if (begin == line.npos) return words;
    line.remove_prefix(begin);
    const size_t end = std::min(line.find_first_of(kBlanks), line.size());
    words.emplace_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMostBytes + 1, '\0');
  if (file) file.read(text.data(), std::streamsize(text.size()));
  if (!file.eof() && (!file.is_open() || file.bad() || file.fail())) {
    throw Error(fmt::format("{}: the API keys cannot be read: {}", path.string(),
                            std::strerror(errno != 0 ? errno : EIO)));
  }
  text.resize(size_t(std::max<std::streamsize>(file.gcount(), 0)));
  if (text.size() > kMostBytes) {
    throw Error(fmt::format("{}: a file of API keys has at most 1 MiB", path.string()));
  }
  return text;
}

}  // namespace

void ApiKeys::add(const std::string& key, const std::string& given_name) {
  check_key(key);
  const std::string name =
      given_name.empty() ? fmt::format("key-{}", keys_.size() + 1) : given_name;
  check_name(name);
  for (const Key& known : keys_) {
    if (known.key != key) continue;
    if (!given_name.empty() && holders_[known.holder] == name) return;
    throw Error(fmt::format("an API key is given twice; the first time it is that of {}",
                            holders_[known.holder]));
  }
  auto holder = std::ranges::find(holders_, name);
  if (holder == holders_.end()) {
    holder = holders_.insert(holders_.end(), name);
    tally_->requests.push_back(std::make_unique<std::atomic<uint64_t>>(0));
  }
  keys_.push_back({key, size_t(holder - holders_.begin())});
}

std::optional<std::string> ApiKeys::add_file(const std::filesystem::path& path) {
  const std::string text = contents_of(path);
  const size_t before = keys_.size();
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::vector<std::string> words =
        words_of(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (words.empty() || words[0].starts_with('#')) continue;
    try {
      if (words.size() > 2) {
        throw Error(fmt::format("expected NAME KEY or KEY, found {} words", words.size()));
      }
      add(words.back(), words.size() == 2 ? words[0] : "");
    } catch (const Error& error) {
      throw Error(fmt::format("{}, line {}: {}", path.string(), number, error.what()));
    }
  }
  if (keys_.size() == before) {
    throw Error(fmt::format("{}: there is no API key in it; expected one a line, NAME KEY or KEY",
                            path.string()));
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || (info.st_mode & (S_IROTH | S_IWOTH)) == 0) return {};
  return fmt::format("every user of this machine can {} the API keys in {}: chmod 600 {}",
                     (info.st_mode & S_IWOTH) != 0 ? "change" : "read", path.string(),
                     path.string());
}

std::vector<std::string> ApiKeys::names() const {
  return holders_;
}

const std::string* ApiKeys::find(std::string_view key) const {
  const std::string* found = nullptr;
  for (const Key& known : keys_) {
    if (equal_in_constant_time(key, known.key)) found = &holders_[known.holder];
  }
  return found;
}

bool ApiKeys::refuses(std::string_view key) const {
  if (find(key) != nullptr) return false;
  ++tally_->refused;
  return true;
}

const std::string* ApiKeys::holder(std::string_view key) const {
  const std::string* found = find(key);
  ++(found == nullptr ? tally_->refused : *tally_->requests[size_t(found - holders_.data())]);
  return found;
}

std::vector<ApiKeys::Count> ApiKeys::counts() const {
  std::vector<Count> all;
  for (size_t i = 0; i < holders_.size(); ++i) all.push_back({holders_[i], *tally_->requests[i]});
  return all;
}

}  // namespace anser
