#include "store/index_page.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "store/packed_state.h"

namespace anser {
namespace {

bool goes_on(const Index::Place& from, const Index::Place& to, bool newest_first) {
  const auto before = std::tie(from.created, from.id), after = std::tie(to.created, to.id);
  return newest_first ? after < before : before < after;
}

// As StatePage::next has it.
std::string text_of(const Index::Place& place) {
  return fmt::format("{} {}", place.created, place.id);
}
Index::Place place_in(const std::string& text) {
  Index::Place place{0, text.substr(text.find(' ') + 1)};
  std::from_chars(text.data(), text.data() + text.size(), place.created);
  return place;
}

}  // namespace

StatePage page_of(Index& index, const StateFilter& filter, const PageOptions& options,
                  const std::string& where) {
  constexpr int64_t kRows = 256;  // at a time
  std::optional<Index::Place> last;
  if (!options.go_on.empty()) {
    last = place_in(options.go_on);
  } else if (!options.after.empty() && !(last = index.place_of(options.after))) {
    fail_unknown_state(options.after, where);
  }
  PageFiller filler(filter, options.limit);
  for (;;) {
    std::vector<Index::Row> rows = index.rows(filter.parent, last, options.newest_first, kRows);
    // A damaged index might lead in circles.
    if (rows.empty() || (last && !goes_on(*last, rows.back().place, options.newest_first))) {
      return filler.take();
    }
    last = rows.back().place;
    for (Index::Row& row : rows) {
      if (row.info && !filler.add(*std::move(row.info), text_of(row.place))) return filler.take();
    }
  }
}

}  // namespace anser
