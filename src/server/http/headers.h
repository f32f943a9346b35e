// Header fields of a request or a reply, in their order.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace anser::http {

// ASCII letters without regard to case, as names of header fields are compared.
bool equal_names(std::string_view a, std::string_view b);

// "application/json" of " Application/JSON ; charset=UTF-8", the value of a Content-Type.
std::string media_type(std::string_view content_type);

class Headers {
 public:
  using Field = std::pair<std::string, std::string>;  // name, value

  Headers() = default;
  Headers(std::initializer_list<Field> fields) : fields_(fields) {}

  void add(std::string name, std::string value);

  // The first field of that name, "" when there is none.
  std::string_view operator[](std::string_view name) const;
  int count(std::string_view name) const;
  int size() const { return int(fields_.size()); }

  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<Field> fields_;
};

}  // namespace anser::http
