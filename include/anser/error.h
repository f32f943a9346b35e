// The one exception type of the library.
//
// A failure that a user can cause (a broken file, a wrong option, a full disk, a state of another
// model) is thrown as anser::Error. Its text is complete for a person: what, where, expected, found
// and, where there is something to do, what to do. The library never prints and never exits.
//
// Errors of our own are not exceptions: ANSER_CHECK (src/base/check.h) ends the program.
#pragma once

#include <stdexcept>

namespace anser {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace anser
