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
