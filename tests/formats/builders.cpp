#include "formats/builders.h"

#include <memory>

namespace builders {

std::string safetensors(const std::string& header, const std::string& data) {
  return raw<uint64_t>(header.size()) + header + data;
}

std::string gguf_string(const std::string& text) {
  return raw<uint64_t>(text.size()) + text;
}

std::string gguf_pair(const std::string& key, uint32_t type, const std::string& value) {
  return gguf_string(key) + raw(type) + value;
}

std::string gguf_array(uint32_t type, uint64_t count, const std::string& elements) {
  return raw(type) + raw(count) + elements;
}

std::string Gguf::bytes() const {
  std::string out = "GGUF" + raw(version) + raw<uint64_t>(tensors.size());
  out += raw<uint64_t>(pairs.size());
  for (const std::string& pair : pairs) out += pair;
  for (const GgufTensor& tensor : tensors) {
    out += gguf_string(tensor.name) + raw<uint32_t>(tensor.dims.size()) + raw_all(tensor.dims);
    out += raw(tensor.type) + raw(tensor.offset);
  }
  out.resize((out.size() + alignment - 1) / alignment * alignment);
  return out + data;
}

std::string zip(const std::vector<ZipFile>& files, bool zip64) {
  constexpr uint32_t kLarge = 0xffffffff;
  std::string out, directory;
  for (const ZipFile& file : files) {
    const auto offset = uint32_t(out.size());
    const auto size = uint32_t(file.data.size());
    const bool sizes_behind = (file.flags & 8) != 0;
    // Padding in an extra field of the local header alone, which puts the data at a multiple of 64.
    const size_t unpadded = offset + 30 + file.name.size() + 4;
    const std::string padding((unpadded + 63) / 64 * 64 - unpadded, 'Z');
    out += "PK\3\4" + raw<uint16_t>(20) + raw(file.flags) + raw(file.method) + raw<uint32_t>(0);
    out += raw<uint32_t>(0) + raw(sizes_behind ? 0 : size) + raw(sizes_behind ? 0 : size);
    out += raw<uint16_t>(file.name.size()) + raw<uint16_t>(padding.size() + 4) + file.name;
    out += "FB" + raw<uint16_t>(padding.size()) + padding + file.data;
    if (sizes_behind) out += "PK\7\b" + raw<uint32_t>(0) + raw(size) + raw(size);

    std::string extra;
    if (file.zip64) {
      extra = raw<uint16_t>(1) + raw<uint16_t>(24) + raw<uint64_t>(size) + raw<uint64_t>(size) +
              raw<uint64_t>(offset);
    }
    directory += "PK\1\2" + raw<uint16_t>(20) + raw<uint16_t>(20) + raw(file.flags);
    directory += raw(file.method) + raw<uint32_t>(0) + raw<uint32_t>(0);
    directory += raw(file.zip64 ? kLarge : size) + raw(file.zip64 ? kLarge : size);
    directory += raw<uint16_t>(file.name.size()) + raw<uint16_t>(extra.size()) + raw<uint16_t>(0);
    directory += raw<uint32_t>(0) + raw<uint32_t>(0) + raw(file.zip64 ? kLarge : offset);
    directory += file.name + extra;
  }
  const size_t start = out.size();
  out += directory;
  const auto count = uint16_t(files.size());
  const std::string end = "PK\5\6" + raw<uint32_t>(0);
  if (!zip64) {
    return out + end + raw(count) + raw(count) + raw<uint32_t>(directory.size()) +
           raw<uint32_t>(start) + raw<uint16_t>(0);
  }
  const size_t end64 = out.size();
  out += "PK\6\6" + raw<uint64_t>(44) + raw<uint32_t>(0) + raw<uint64_t>(0);
  out += raw<uint64_t>(count) + raw<uint64_t>(count) + raw<uint64_t>(directory.size());
  out += raw<uint64_t>(start);
  out += "PK\6\7" + raw<uint32_t>(0) + raw<uint64_t>(end64) + raw<uint32_t>(1);
  return out + end + raw<uint32_t>(kLarge) + raw(kLarge) + raw(kLarge) + raw<uint16_t>(0);
}

std::string pickle_text(const std::string& text) {
  return "X" + raw<uint32_t>(text.size()) + text;
}

std::string pickle_int(int64_t value) {
  return "\x8a\x08" + raw(value);
}

std::string pickle_tuple(const std::vector<int64_t>& values) {
  std::string out = "(";
  for (const int64_t value : values) out += pickle_int(value);
  return out + "t";
}

std::string pickle_storage(const std::string& type, const std::string& key, int64_t elements,
                           const std::string& device) {
  return "(" + pickle_text("storage") + "c" + type + "\n" + pickle_text(key) + pickle_text(device) +
         pickle_int(elements) + "tQ";
}

std::string pickle_tensor(const std::string& storage, int64_t offset,
                          const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + pickle_int(offset) +
         pickle_tuple(shape) + pickle_tuple(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

std::string pickle_dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out = "ccollections\nOrderedDict\n)R(";
  for (const auto& [key, value] : items) out += pickle_text(key) + value;
  return out + "u";
}

std::string pickle(const std::string& root) {
  return "\x80\x02" + root + ".";
}

std::string pth(const std::string& pickled,
                const std::vector<std::pair<std::string, std::string>>& storages) {
  std::vector<ZipFile> files = {{"model/data.pkl", pickled}, {"model/byteorder", "little"}};
  for (const auto& [key, data] : storages) files.push_back({"model/data/" + key, data});
  files.push_back({"model/version", "3\n"});
  return zip(files);
}

namespace {

// A copy of exactly the size, behind which the address sanitizer watches.
struct Exact {
  explicit Exact(const std::string& text) : data(new std::byte[text.size()]), size(text.size()) {
    std::memcpy(data.get(), text.data(), size);
  }
  std::span<const std::byte> span() const { return {data.get(), size}; }

  std::unique_ptr<std::byte[]> data;
  size_t size;
};

bool parses(Parser parse, const std::string& text) {
  const Exact exact(text);
  try {
    parse(exact.span(), "file");
    return true;
  } catch (const anser::Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("file: ")) << error.what();
    return false;
  }
}

}  // namespace

std::string error_of(Parser parse, const std::string& bytes) {
  const Exact exact(bytes);
  try {
    parse(exact.span(), "file");
  } catch (const anser::Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

void expect_error(Parser parse, const std::string& bytes, const std::vector<std::string>& words) {
  const std::string text = error_of(parse, bytes);
  EXPECT_TRUE(text.starts_with("file: ")) << text;
  for (const std::string& word : words) {
    EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is not in: " << text;
  }
}

int parse_damaged(Parser parse, const std::string& bytes) {
  int parsed = 0;
  for (size_t length = 0; length < bytes.size(); ++length) {
    parsed += parses(parse, bytes.substr(0, length));
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[i] = char(changed[i] ^ flip);
      parses(parse, changed);
    }
  }
  return parsed;
}

}  // namespace builders
