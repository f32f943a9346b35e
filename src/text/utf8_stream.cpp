#include "text/utf8_stream.h"

#include "text/utf8.h"

namespace anser {

namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

void Utf8Stream::push(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const uint8_t byte = uint8_t(c);
    if (held_size_ > 0) {
      if (byte >= next_min_ && byte <= next_max_) {
        held_[held_size_++] = c;
        next_min_ = 0x80;
        next_max_ = 0xbf;
        if (held_size_ == length_) {
          out.append(held_, size_t(held_size_));
          held_size_ = 0;
        }
        continue;
      }
      // The byte does not continue the sequence, so it is looked at as a beginning below.
      flush(out);
    }
    const Utf8Lead lead = utf8_lead(byte);
    if (lead.length == 1) {
      out += c;
    } else if (lead.length == 0) {
      out += kReplacement;
    } else {
      held_[0] = c;
      held_size_ = 1;
      length_ = lead.length;
      next_min_ = lead.second_min;
      next_max_ = lead.second_max;
    }
  }
}

void Utf8Stream::flush(std::string& out) {
  if (held_size_ > 0) out += kReplacement;
  held_size_ = 0;
}

std::string whole_characters(std::string_view bytes) {
  std::string text;
  Utf8Stream().push(bytes, text);
  return text;
}

}  // namespace anser
