#include "store/content.h"

#include <zstd.h>

#include <cstring>
#include <memory>
#include <new>

#include "base/check.h"
#include "formats/checks.h"

namespace anser {
namespace {

// What the fp32 of a state lose to compression they lose at level 1, docs/decisions/0007.
constexpr int kLevel = 1;

}  // namespace

std::vector<std::byte> compress_state_file(std::span<const std::byte> file) {
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                   ZSTD_freeCCtx);
  if (context == nullptr) throw std::bad_alloc();
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kLevel);
  std::vector<std::byte> packed(ZSTD_compressBound(file.size()));
  const size_t size =
      ZSTD_compress2(context.get(), packed.data(), packed.size(), file.data(), file.size());
  if (ZSTD_isError(size)) throw std::bad_alloc();  // all that can fail with room for the worst case
  packed.resize(size);
  return packed;
}

std::vector<std::byte> decompress_state_file(std::span<const std::byte> bytes, uint64_t raw_bytes,
                                             const std::string& source) {
  const unsigned long long stated = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (stated == ZSTD_CONTENTSIZE_ERROR || stated == ZSTD_CONTENTSIZE_UNKNOWN) {
    fail(source,
         "damaged: expected a compressed state, found no frame of zstd that states its size");
  }
  if (stated != raw_bytes) {
    fail(source, "damaged: expected a compressed state of {} bytes, found one of {}", raw_bytes,
         stated);
  }
  std::vector<std::byte> file(raw_bytes);
  const size_t size = ZSTD_decompress(file.data(), file.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(size)) {
    fail(source, "the compressed state is damaged: {}", ZSTD_getErrorName(size));
  }
  if (size != raw_bytes) {
    fail(source, "the compressed state is damaged: {} bytes, expected {}", size, raw_bytes);
  }
  return file;
}

uint64_t checksum_of(std::span<const std::byte> file) {
  uint64_t checksum;
  ANSER_CHECK(file.size() >= sizeof(checksum));
  std::memcpy(&checksum, file.data() + file.size() - sizeof(checksum), sizeof(checksum));
  return checksum;
}

}  // namespace anser
