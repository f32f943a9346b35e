// What a call throws.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "anser/error.h"

namespace support {

// The text of the Error that `call` throws; empty, and a failure, when it throws none.
template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const anser::Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

// Expects an Error that says every one of `words`.
template <class Call>
void expect_error(const std::vector<std::string>& words, Call call) {
  const std::string text = error_of(call);
  for (const std::string& word : words) {
    EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is not in: " << text;
  }
}

}  // namespace support
