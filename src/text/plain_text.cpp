#include "text/plain_text.h"

#include <fmt/format.h>

#include "anser/error.h"

namespace anser {

std::string_view plain_text(std::string_view bytes, const std::string& source) {
  constexpr std::string_view kMark = "\xef\xbb\xbf", kUtf16Little = "\xff\xfe",
                             kUtf16Big = "\xfe\xff";
  if (bytes.starts_with(kUtf16Little) || bytes.starts_with(kUtf16Big)) {
    throw Error(fmt::format(
        "{}: the text is in UTF-16, as its byte order mark says; expected UTF-8. Save it as UTF-8",
        source));
  }
  if (bytes.starts_with(kMark)) bytes.remove_prefix(kMark.size());
  return bytes;
}

std::string plain_lines(std::string_view bytes, const std::string& source) {
  std::string text;
  bytes = plain_text(bytes, source);
  text.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool windows_end = bytes[i] == '\r' && i + 1 < bytes.size() && bytes[i + 1] == '\n';
    if (!windows_end) text += bytes[i];
  }
  return text;
}

}  // namespace anser
