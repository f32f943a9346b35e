// A part of a store's list, out of its index.
#pragma once

#include <string>

#include "store/index.h"
#include "store/states.h"

namespace anser {

// `where` is named in the Error of a state that the page shall begin behind and that is not there.
StatePage page_of(Index& index, const StateFilter& filter, const PageOptions& options,
                  const std::string& where);

}  // namespace anser
