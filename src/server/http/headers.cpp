#include "server/http/headers.h"

#include <algorithm>

namespace anser::http {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
}

}  // namespace

bool equal_names(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string media_type(std::string_view content_type) {
  constexpr std::string_view kBlanks = " \t";
  std::string_view type = content_type.substr(0, content_type.find(';'));
  const size_t begin = std::min(type.find_first_not_of(kBlanks), type.size());
  const size_t end = type.find_last_not_of(kBlanks);
  type = type.substr(begin, end == type.npos ? 0 : end + 1 - begin);
  std::string name(type);
  std::transform(name.begin(), name.end(), name.begin(), lower);
  return name;
}

void Headers::add(std::string name, std::string value) {
  fields_.emplace_back(std::move(name), std::move(value));
}

std::string_view Headers::operator[](std::string_view name) const {
  for (const Field& field : fields_) {
    if (equal_names(field.first, name)) return field.second;
  }
  return {};
}

int Headers::count(std::string_view name) const {
  return int(std::count_if(fields_.begin(), fields_.end(),
                           [&](const Field& field) { return equal_names(field.first, name); }));
}

}  // namespace anser::http
