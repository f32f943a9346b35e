// A stored state's file, decompressed in pieces: what is sent to a client need not stand in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace anser {

class ContentReader {
 public:
  // The compressed bytes from `offset` on, as many as come at once; empty: there are no more.
  using Source = std::function<std::string(uint64_t offset)>;

  // What one takes in memory, about.
  static constexpr uint64_t kMemory = 1 << 20;

  // Of a state file of `raw_bytes` that ends with `checksum`. `where` is named in errors.
  ContentReader(Source source, uint64_t raw_bytes, uint64_t checksum, std::string where);
  ~ContentReader();

  uint64_t size() const { return raw_bytes_; }

  // The next bytes of the file, at most `most`; empty: that was all. Throws Error for what is not
  // exactly this file, compressed and undamaged: at the latest in place of its last bytes.
  std::string next(size_t most);

  // Reads to the end, keeping nothing, and begins anew: then what is wrong is known before the
  // first byte is sent.
  void check();

 private:
  struct Decoder;
  void begin();
  void decode(char* to, size_t count);
  void refill();
  void check_end();

  const Source source_;
  const uint64_t raw_bytes_, checksum_;
  const std::string where_;
  std::unique_ptr<Decoder> decoder_;
  std::string in_;  // compressed, of which `used_` are decoded
  size_t used_ = 0;
  uint64_t offset_ = 0, given_ = 0;  // bytes got from the source, and decompressed
};

}  // namespace anser
