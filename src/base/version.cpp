#include "anser/version.h"

#define ANSER_QUOTED(number) #number
#define ANSER_DOTTED(major, minor, patch) \
  ANSER_QUOTED(major) "." ANSER_QUOTED(minor) "." ANSER_QUOTED(patch)

namespace anser {

const char* version() noexcept {
  return ANSER_DOTTED(ANSER_VERSION_MAJOR, ANSER_VERSION_MINOR, ANSER_VERSION_PATCH);
}

}  // namespace anser
