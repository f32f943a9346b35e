#include "store/content_reader.h"

#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "formats/checks.h"

namespace anser {
namespace {

// What is compressed at level 1 needs half a megabyte; a damaged frame may claim gigabytes.
constexpr int kMostWindowLog = 23;

constexpr size_t kPiece = 256 << 10;

}  // namespace

struct ContentReader::Decoder {
  Decoder() : context(ZSTD_createDCtx(), ZSTD_freeDCtx), hash(XXH3_createState(), XXH3_freeState) {
    if (context == nullptr || hash == nullptr) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kMostWindowLog);
    XXH3_64bits_reset(hash.get());
  }

  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context;
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> hash;  // of all but the last 8
  std::string end;                                                       // the last 8 bytes
  bool frame_ended = false;
};

ContentReader::ContentReader(Source source, uint64_t raw_bytes, uint64_t checksum,
                             std::string where)
    : source_(std::move(source)),
      raw_bytes_(raw_bytes),
      checksum_(checksum),
      where_(std::move(where)) {
  if (raw_bytes < sizeof(uint64_t)) fail(where_, "{} bytes are no state file", raw_bytes);
  begin();
}

ContentReader::~ContentReader() = default;

void ContentReader::begin() {
  decoder_ = std::make_unique<Decoder>();
  in_ = source_(0);
  used_ = 0;
  offset_ = in_.size();
  given_ = 0;
  const unsigned long long stated = ZSTD_getFrameContentSize(in_.data(), in_.size());
  if (stated == ZSTD_CONTENTSIZE_ERROR || stated == ZSTD_CONTENTSIZE_UNKNOWN) {
    fail(where_,
         "damaged: expected a compressed state, found no frame of zstd that states its size");
  }
  if (stated != raw_bytes_) {
    fail(where_, "damaged: expected a compressed state of {} bytes, found one of {}", raw_bytes_,
         stated);
  }
}

void ContentReader::refill() {
  if (used_ < in_.size()) return;
  in_ = source_(offset_);
  used_ = 0;
  offset_ += in_.size();
}

void ContentReader::decode(char* to, size_t count) {
  ZSTD_outBuffer out{to, count, 0};
  while (out.pos < count) {
    refill();
    ZSTD_inBuffer in{in_.data(), in_.size(), used_};
    const size_t left = ZSTD_decompressStream(decoder_->context.get(), &out, &in);
    if (ZSTD_isError(left)) {
      fail(where_, "the compressed state is damaged: {}", ZSTD_getErrorName(left));
    }
    decoder_->frame_ended = left == 0;
    const bool stuck = in.pos == used_ && in_.empty();
    used_ = in.pos;
    if (out.pos < count && (stuck || decoder_->frame_ended)) {
      fail(where_, "the compressed state is cut off: {} bytes, expected {}", given_ + out.pos,
           raw_bytes_);
    }
  }
}

std::string ContentReader::next(size_t most) {
  std::string piece(size_t(std::min<uint64_t>(most, raw_bytes_ - given_)), '\0');
  if (piece.empty()) return piece;
  decode(piece.data(), piece.size());
  const uint64_t body = raw_bytes_ - sizeof(checksum_);
  const size_t hashed = size_t(std::min<uint64_t>(piece.size(), body - std::min(body, given_)));
  XXH3_64bits_update(decoder_->hash.get(), piece.data(), hashed);
  decoder_->end.append(piece, hashed);
  given_ += piece.size();
  if (given_ == raw_bytes_) check_end();
  return piece;
}

void ContentReader::check_end() {
  // The frame's end may stand in bytes that have not been looked at.
  char none;
  ZSTD_outBuffer out{&none, 0, 0};
  while (!decoder_->frame_ended) {
    refill();
    ZSTD_inBuffer in{in_.data(), in_.size(), used_};
    const size_t left = ZSTD_decompressStream(decoder_->context.get(), &out, &in);
    const bool stuck = in.pos == used_;
    used_ = in.pos;
    decoder_->frame_ended = left == 0;
    if (ZSTD_isError(left) || (stuck && !decoder_->frame_ended)) {
      fail(where_, "the compressed state is damaged: its frame does not end after {} bytes",
           raw_bytes_);
    }
  }
  refill();
  if (used_ < in_.size()) fail(where_, "damaged: there is more behind the compressed state");
  uint64_t stated;
  std::memcpy(&stated, decoder_->end.data(), sizeof(stated));
  const uint64_t found = XXH3_64bits_digest(decoder_->hash.get());
  if (found != stated || stated != checksum_) {
    fail(where_,
         "the state file is damaged: checksum {:016x}, {:016x} at its end, expected {:016x}", found,
         stated, checksum_);
  }
}

void ContentReader::check() {
  while (!next(kPiece).empty()) {
  }
  begin();
}

}  // namespace anser
