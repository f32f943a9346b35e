#include "text/prose.h"

#include <algorithm>

namespace anser {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";
constexpr std::string_view kClosing = "\"')";

// Mr. Mrs. Dr. St. or an initial; names as short are taken for one, too: some later sentence ends.
bool may_be_abbreviated(std::string_view before_stop) {
  constexpr size_t kLongest = 3;
  const size_t space = before_stop.find_last_of(" \"'(");
  const std::string_view word =
      space == std::string_view::npos ? before_stop : before_stop.substr(space + 1);
  return !word.empty() && word.size() <= kLongest && word[0] >= 'A' && word[0] <= 'Z';
}

}  // namespace

void SentenceEnd::read(std::string_view text) {
  if (text.empty()) return;
  begun_ = true;
  const size_t line_end = text.rfind('\n');
  if (line_end != std::string_view::npos) {
    line_.clear();
    text.remove_prefix(line_end + 1);
  }
  line_ += text;
}

bool SentenceEnd::here() const {
  if (line_.empty()) return begun_;
  if (std::count(line_.begin(), line_.end(), '"') % 2 != 0) return false;
  const size_t last = line_.find_last_not_of(kClosing);
  if (last == std::string::npos) return false;
  const char mark = line_[last];
  if (mark == '.') return !may_be_abbreviated(std::string_view(line_).substr(0, last));
  return mark == '!' || mark == '?';
}

std::string joined_line(std::string_view line, bool after_line_end) {
  const size_t begin = line.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return "";
  std::string words(line.substr(begin, line.find_last_not_of(kSpaces) - begin + 1));
  constexpr std::string_view kAttached = ".,;:!?)";
  const bool attached = kAttached.find(words[0]) != std::string_view::npos;
  return after_line_end || attached ? words : " " + words;
}

}  // namespace anser
