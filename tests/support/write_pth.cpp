// A .pth as PyTorch writes it: a zip of stored entries, in it a pickle that rebuilds the tensors.
#include <cstring>
#include <utility>

#include "support/temp_dir.h"
#include "support/writers.h"

namespace support {
namespace {

template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

uint32_t crc32(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= uint8_t(c);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

class ZipWriter {
 public:
  ZipWriter(bool zip64, bool descriptors) : zip64_(zip64), descriptors_(descriptors) {}

  void add(const std::string& name, const std::string& content) {
    const uint64_t offset = bytes_.size();
    const uint32_t crc = crc32(content);
    const uint16_t flags = descriptors_ ? 0x0808 : 0x0800;
    // Extra data that aligns the content to 64, as PyTorch does.
    std::string padding(2 * sizeof(uint16_t), '\0');
    padding.append((64 - (offset + 30 + name.size() + padding.size()) % 64) % 64, 'Z');
    const uint16_t padded = uint16_t(padding.size() - 4);
    std::memcpy(padding.data(), "FB", 2);
    std::memcpy(padding.data() + 2, &padded, 2);

    put(bytes_, uint32_t(0x04034b50));
    put(bytes_, uint16_t(0));  // version
    put(bytes_, flags);
    put(bytes_, uint16_t(0));  // stored
    put(bytes_, uint32_t(0));  // time
    put(bytes_, descriptors_ ? 0u : crc);
    put(bytes_, descriptors_ ? 0u : uint32_t(content.size()));
    put(bytes_, descriptors_ ? 0u : uint32_t(content.size()));
    put(bytes_, uint16_t(name.size()));
    put(bytes_, uint16_t(padding.size()));
    bytes_ += name + padding + content;
    if (descriptors_) {
      put(bytes_, uint32_t(0x08074b50));
      put(bytes_, crc);
      put(bytes_, uint32_t(content.size()));
      put(bytes_, uint32_t(content.size()));
    }

    std::string extra;
    if (zip64_) {
      put(extra, uint16_t(1));
      put(extra, uint16_t(24));
      put(extra, uint64_t(content.size()));
      put(extra, uint64_t(content.size()));
      put(extra, offset);
    }
    const uint32_t absent = ~0u;
    put(directory_, uint32_t(0x02014b50));
    put(directory_, uint16_t(0));
    put(directory_, uint16_t(0));
    put(directory_, flags);
    put(directory_, uint16_t(0));
    put(directory_, uint32_t(0));
    put(directory_, crc);
    put(directory_, zip64_ ? absent : uint32_t(content.size()));
    put(directory_, zip64_ ? absent : uint32_t(content.size()));
    put(directory_, uint16_t(name.size()));
    put(directory_, uint16_t(extra.size()));
    put(directory_, uint16_t(0));  // comment
    put(directory_, uint16_t(0));  // disk
    put(directory_, uint16_t(0));
    put(directory_, uint32_t(0));
    put(directory_, zip64_ ? absent : uint32_t(offset));
    directory_ += name + extra;
    ++entries_;
  }

  std::string finish() {
    const uint64_t at = bytes_.size(), size = directory_.size();
    std::string end = bytes_ + directory_;
    if (zip64_) {
      const uint64_t record = end.size();
      put(end, uint32_t(0x06064b50));
      put(end, uint64_t(44));
      put(end, uint16_t(45));
      put(end, uint16_t(45));
      put(end, uint32_t(0));
      put(end, uint32_t(0));
      put(end, uint64_t(entries_));
      put(end, uint64_t(entries_));
      put(end, size);
      put(end, at);
      put(end, uint32_t(0x07064b50));
      put(end, uint32_t(0));
      put(end, record);
      put(end, uint32_t(1));
    }
    put(end, uint32_t(0x06054b50));
    put(end, uint32_t(0));
    put(end, zip64_ ? uint16_t(~0) : uint16_t(entries_));
    put(end, zip64_ ? uint16_t(~0) : uint16_t(entries_));
    put(end, zip64_ ? ~0u : uint32_t(size));
    put(end, zip64_ ? ~0u : uint32_t(at));
    put(end, uint16_t(0));
    return end;
  }

 private:
  bool zip64_, descriptors_;
  std::string bytes_, directory_;
  int entries_ = 0;
};

class PickleWriter {
 public:
  void raw(const std::string& text) { out += text; }
  void text(const std::string& s) {
    out += 'X';
    put(out, uint32_t(s.size()));
    out += s;
  }
  void number(int64_t n) {
    if (n >= 0 && n < 256) {
      out += 'K';
      put(out, uint8_t(n));
    } else if (n >= 0 && n < 65536) {
      out += 'M';
      put(out, uint16_t(n));
    } else {
      out += 'J';
      put(out, int32_t(n));
    }
  }
  void numbers(const std::vector<int64_t>& list) {
    out += '(';
    for (const int64_t n : list) number(n);
    out += 't';
  }
  std::string out;
};

}  // namespace

void write_pth_raw(const std::string& path, const std::vector<Tensor>& tensors,
                   const PthOptions& options) {
  constexpr const char* kStorages[] = {"FloatStorage", "HalfStorage", "BFloat16Storage"};
  const std::string storage_global = std::string("ctorch\n") + kStorages[int(options.type)] + "\n";
  std::vector<std::string> storages;
  std::vector<int64_t> sizes;  // in elements
  if (options.shared_storage) {
    storages.emplace_back();
    sizes.push_back(0);
    for (const Tensor& tensor : tensors) sizes[0] += int64_t(tensor.values.size());
  }

  PickleWriter pickle;
  pickle.raw("\x80\x02");
  if (options.state_dict) {
    pickle.raw("}(");
    pickle.text("epoch");
    pickle.number(3);
    pickle.text("state_dict");
  }
  pickle.raw("ccollections\nOrderedDict\n)R(");
  int64_t shared_at = 0;
  for (const Tensor& original : tensors) {
    const bool strided = options.strided && original.shape.size() == 2;
    const Tensor stored = strided ? transposed(original) : original;
    std::vector<int64_t> strides(original.shape.size());
    int64_t stride = 1;
    for (size_t d = strides.size(); d-- > 0; stride *= original.shape[d]) strides[d] = stride;
    if (strided) strides = {1, original.shape[0]};

    const size_t key = options.shared_storage ? 0 : storages.size();
    const int64_t offset = options.shared_storage ? shared_at : 0;
    const int64_t count = int64_t(original.values.size());
    if (options.shared_storage) {
      storages[0] += pack(options.type, stored.values);
      shared_at += count;
    } else {
      storages.push_back(pack(options.type, stored.values));
      sizes.push_back(count);
    }
    pickle.text(original.name);
    pickle.raw("ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle.text("storage");
    pickle.raw(storage_global);
    pickle.text(std::to_string(key));
    pickle.text(options.device);
    pickle.number(sizes[key]);
    pickle.raw("tQ");
    pickle.number(offset);
    pickle.numbers(original.shape);
    pickle.numbers(strides);
    pickle.raw(
        "\x89"
        "ccollections\nOrderedDict\n)RtR");
  }
  pickle.raw("u");
  if (options.state_dict) pickle.raw("u");
  pickle.raw(".");

  ZipWriter zip(options.zip64, options.data_descriptors);
  zip.add(options.root + "/data.pkl", pickle.out);
  zip.add(options.root + "/byteorder", "little");
  for (size_t i = 0; i < storages.size(); ++i) {
    zip.add(options.root + "/data/" + std::to_string(i), storages[i]);
  }
  zip.add(options.root + "/version", "3\n");
  write_file(path, zip.finish());
}

void write_pth(const std::string& path, const RandomModel& model, const PthOptions& options) {
  std::vector<Tensor> tensors = model.tensors;
  if (options.layer0_values) {
    // As the original files have them: there, of the rank of v, and unused.
    const int64_t D = model.shape.width, rank = model.shape.rank_v;
    tensors.push_back({"blocks.0.att.v0", {1, 1, D}, std::vector<double>(size_t(D), 0.5)});
    tensors.push_back({"blocks.0.att.v1", {D, rank}, std::vector<double>(size_t(D * rank), 0.25)});
    tensors.push_back({"blocks.0.att.v2", {rank, D}, std::vector<double>(size_t(D * rank), 0.25)});
  }
  write_pth_raw(path, tensors, options);
}

}  // namespace support
