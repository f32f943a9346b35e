// What a store reads from its folder: records and compressed states. The first byte of the input
// chooses: a record as it is; the text of a record, whose checksum is added here since a fuzzer
// would not find it; or a compressed state, whose size in bytes the next three bytes state.
#include <fmt/format.h>
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "anser/error.h"
#include "anser/state.h"
#include "base/check.h"
#include "cost.h"
#include "store/content.h"
#include "store/state_id.h"
#include "store/state_info.h"

namespace {

void check_record(const std::string& text) {
  const anser::StateInfo info = anser::parse_record(std::as_bytes(std::span(text)), "fuzz");
  ANSER_CHECK(anser::is_state_id(info.id) && anser::is_state_id(info.content));
  ANSER_CHECK(info.parent.empty() || anser::is_state_id(info.parent));
  // What was read is written in one way only.
  const std::string written = anser::to_record(info);
  ANSER_CHECK(anser::to_record(anser::parse_record(std::as_bytes(std::span(written)), "fuzz")) ==
              written);
}

void check_content(std::string_view bytes) {
  if (bytes.size() < 3) return;
  uint32_t size = 0;
  for (int i = 0; i < 3; ++i) size |= uint32_t(uint8_t(bytes[size_t(i)])) << (8 * i);
  const auto file =
      anser::decompress_state_file(std::as_bytes(std::span(bytes.substr(3))), size, "fuzz");
  ANSER_CHECK(file.size() == size);
  const anser::State state = anser::State::deserialize(file, "fuzz");
  ANSER_CHECK(state.serialize() == file);
}

// `kind`: as the first byte of an input says.
void read(int kind, const std::string& rest) {
  try {
    switch (kind) {
      case 0:
        check_record(rest);
        break;
      case 1:
        check_record(fmt::format("{}xxh3 {:016x}\n", rest, XXH3_64bits(rest.data(), rest.size())));
        break;
      case 2:
        check_content(rest);
        break;
    }
  } catch (const anser::Error& error) {
    // Every message says which file.
    ANSER_CHECK(std::string(error.what()).starts_with("fuzz"));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  // A state's size is stated in three bytes: 16 MB may be unpacked.
  const size_t unpacked = data[0] % 3 == 2 ? size_t(16) << 20 : 0;
  fuzz::bound_cost("a record or a content", size + unpacked, [&] { read(data[0] % 3, rest); });
  if (data[0] % 3 != 2 && fuzz::grows(data, size)) {
    const std::string many = fuzz::repeated(rest);
    fuzz::bound_cost("repeated records", many.size(), [&] { read(data[0] % 3, many); });
    std::string note = R"({"anser_state":1,"note":{"":0)";
    for (int i = 0; note.size() < fuzz::kGrown; ++i) note += ",\"" + std::to_string(i) + "\":0";
    fuzz::bound_cost("a record of many keys", note.size(), [&] { read(1, note + "}}\n"); });
  }
  return 0;
}
