// Shorthands for tests of grammars.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "anser/constraint.h"

namespace support {

// Over 256 tokens, a byte each.
inline std::shared_ptr<const anser::Constraint> byte_constraint(std::string_view schema) {
  return anser::Constraint::json_schema(anser::Tokenizer::bytes(), 256, schema);
}

// Byte by byte; whether all were allowed, and the text may end.
inline bool accepts(anser::ConstraintMatcher matcher, std::string_view text) {
  for (const char byte : text) {
    if (!matcher.accept({&byte, 1})) return false;
  }
  return matcher.complete();
}
inline bool accepts(const std::shared_ptr<const anser::Constraint>& constraint,
                    std::string_view text) {
  return accepts(anser::ConstraintMatcher(constraint), text);
}

}  // namespace support
