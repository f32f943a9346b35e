// Everything is taken from the central directory at the end of the file: torch.save writes local
// headers whose sizes are zero (flag bit 3: they follow the data). The local header only says how
// long it is itself, since its padding, which aligns the data, is in no other place.
#include "formats/zip_directory.h"

#include <optional>
#include <unordered_set>

#include "formats/byte_reader.h"
#include "formats/checks.h"

namespace anser {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50;           // "PK\5\6"
constexpr uint32_t kEnd64Signature = 0x06064b50;         // "PK\6\6"
constexpr uint32_t kEnd64LocatorSignature = 0x07064b50;  // "PK\6\7"
constexpr uint32_t kCentralSignature = 0x02014b50;       // "PK\1\2"
constexpr uint32_t kLocalSignature = 0x04034b50;         // "PK\3\4"
constexpr size_t kEndBytes = 22, kEnd64Bytes = 56, kEnd64LocatorBytes = 20;
constexpr size_t kCentralBytes = 46, kLocalBytes = 30;

// Fields that hold all ones have their value in a zip64 record.
constexpr uint16_t kIn64Bits16 = 0xffff;
constexpr uint32_t kIn64Bits32 = 0xffffffff;

struct Directory {
  uint64_t entries, offset, size;
};

class ZipReader {
 public:
  ZipReader(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(path) {}

  std::vector<ZipEntry> read() {
    const Directory directory = find_directory();
    // Compared without a sum, which could overflow.
    if (directory.offset > bytes_.size() || directory.size > bytes_.size() - directory.offset) {
      fail(path_,
           "damaged zip archive: its directory lies at byte {}, {} bytes long, in a file of "
           "{}. {}",
           directory.offset, directory.size, bytes_.size(), kFetchAgain);
    }
    if (directory.entries > directory.size / kCentralBytes) {
      fail(path_, "damaged zip archive: {} entries cannot stand in a directory of {} bytes",
           directory.entries, directory.size);
    }
    data_end_ = directory.offset;
    ByteReader reader(bytes_.subspan(directory.offset, directory.size), path_);
    std::vector<ZipEntry> entries;
    std::unordered_set<std::string_view> names;
    for (uint64_t i = 0; i < directory.entries; ++i) {
      const std::optional<ZipEntry> entry = read_entry(reader);
      if (!entry) continue;
      if (!names.insert(entry->name).second) {
        fail(path_, "damaged zip archive: two entries have the name {}", printable(entry->name));
      }
      entries.push_back(*entry);
    }
    return entries;
  }

 private:
  template <typename T>
  T at(uint64_t offset) const {
    return load_little_endian<T>(bytes_.data() + offset);
  }

  // The end record stands last, before a comment of at most 65535 bytes.
  size_t find_end() const {
    constexpr size_t kMaxComment = 0xffff;
    const size_t size = bytes_.size();
    for (size_t comment = 0; comment <= kMaxComment && comment + kEndBytes <= size; ++comment) {
      const size_t end = size - kEndBytes - comment;
      if (at<uint32_t>(end) == kEndSignature && at<uint16_t>(end + 20) == comment) return end;
    }
    fail(path_, "the zip archive has no directory at its end, so it is cut off. {}", kFetchAgain);
  }

  Directory find_directory() const {
    const size_t end = find_end();
    const Directory directory{at<uint16_t>(end + 10), at<uint32_t>(end + 16),
                              at<uint32_t>(end + 12)};
    const bool large = directory.entries == kIn64Bits16 || directory.offset == kIn64Bits32 ||
                       directory.size == kIn64Bits32;
    // Without a locator the values happen to be what they say.
    if (!large || end < kEnd64LocatorBytes ||
        at<uint32_t>(end - kEnd64LocatorBytes) != kEnd64LocatorSignature) {
      return directory;
    }
    const auto end64 = at<uint64_t>(end - kEnd64LocatorBytes + 8);
    if (end64 > bytes_.size() || kEnd64Bytes > bytes_.size() - end64 ||
        at<uint32_t>(end64) != kEnd64Signature) {
      fail(path_, "damaged zip archive: no zip64 record at byte {}. {}", end64, kFetchAgain);
    }
    return {at<uint64_t>(end64 + 32), at<uint64_t>(end64 + 48), at<uint64_t>(end64 + 40)};
  }

  // Nothing for a folder.
  std::optional<ZipEntry> read_entry(ByteReader& reader) const {
    const auto fixed = reader.take(kCentralBytes, "a zip directory entry");
    const auto field16 = [&](size_t i) { return load_little_endian<uint16_t>(&fixed[i]); };
    const auto field32 = [&](size_t i) { return load_little_endian<uint32_t>(&fixed[i]); };
    if (field32(0) != kCentralSignature) {
      fail(path_, "damaged zip archive: its directory holds something else than entries");
    }
    const uint16_t flags = field16(8), method = field16(10);
    uint64_t stored = field32(20), size = field32(24), local = field32(42);
    const std::string_view name = as_text(reader.take(field16(28), "a zip entry's name"));
    const auto extra = reader.take(field16(30), "a zip entry's extra fields");
    reader.take(field16(32), "a zip entry's comment");
    read_zip64_extra(extra, name, size, stored, local);

    constexpr uint16_t kEncrypted = 1 << 0;
    if ((flags & kEncrypted) != 0) {
      fail(path_, "the zip entry {} is encrypted, which no checkpoint is", printable(name));
    }
    if (method != 0) {
      fail(path_,
           "the zip entry {} is compressed (method {}), but torch.save stores entries as they "
           "are. Save the model's state_dict with torch.save (a TorchScript program is no "
           "checkpoint), or unpack the archive and pack it again with 'zip -0'",
           printable(name), method);
    }
    if (size != stored) {
      fail(path_, "damaged zip archive: entry {} is stored, but has two sizes, {} and {}",
           printable(name), size, stored);
    }
    if (name.ends_with('/')) return std::nullopt;
    return ZipEntry{name, entry_data(name, local, size)};
  }

  // Extra field 1 holds, in this order, those of the three values that are all ones in the entry.
  void read_zip64_extra(std::span<const std::byte> extra, std::string_view name, uint64_t& size,
                        uint64_t& stored, uint64_t& local) const {
    constexpr uint16_t kZip64Extra = 1;
    ByteReader fields(extra, path_);
    while (fields.remaining() >= 4) {
      const auto id = fields.read<uint16_t>("an extra field");
      const auto length = fields.read<uint16_t>("an extra field");
      // Some writers pad with less than a whole field; nothing of interest can follow.
      if (length > fields.remaining()) break;
      ByteReader values(fields.take(length, "an extra field"), path_);
      if (id != kZip64Extra) continue;
      for (uint64_t* value : {&size, &stored, &local}) {
        if (*value == kIn64Bits32) *value = values.read<uint64_t>("a zip64 value");
      }
      return;
    }
    if (size == kIn64Bits32 || stored == kIn64Bits32 || local == kIn64Bits32) {
      fail(path_, "damaged zip archive: entry {} lacks its zip64 values", printable(name));
    }
  }

  std::span<const std::byte> entry_data(std::string_view name, uint64_t local,
                                        uint64_t size) const {
    const auto outside = [&]() {
      fail(path_,
           "damaged zip archive: entry {} ({} bytes, its header at byte {}) does not lie within "
           "the {} bytes before the directory. {}",
           printable(name), size, local, data_end_, kFetchAgain);
    };
    if (local > data_end_ || kLocalBytes > data_end_ - local) outside();
    if (at<uint32_t>(local) != kLocalSignature) {
      fail(path_, "damaged zip archive: no header of entry {} at byte {}", printable(name), local);
    }
    const size_t name_bytes = at<uint16_t>(local + 26);
    const size_t header = kLocalBytes + name_bytes + at<uint16_t>(local + 28);
    if (header > data_end_ - local || size > data_end_ - local - header) outside();
    if (as_text(bytes_.subspan(local + kLocalBytes, name_bytes)) != name) {
      fail(path_, "damaged zip archive: the header at byte {} is not that of entry {}", local,
           printable(name));
    }
    return bytes_.subspan(local + header, size);
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
  uint64_t data_end_ = 0;  // where the directory starts
};

}  // namespace

std::vector<ZipEntry> read_zip_directory(std::span<const std::byte> bytes,
                                         const std::string& path) {
  return ZipReader(bytes, path).read();
}

}  // namespace anser
