#include <algorithm>
#include <map>

#include "support/temp_dir.h"
#include "support/writers.h"

namespace support {
namespace {

template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void put_text(std::string& to, const std::string& text) {
  put(to, uint64_t(text.size()));
  to += text;
}

enum : uint32_t { kU16 = 2, kU32 = 4, kI32 = 5, kFloat = 6, kBool = 7, kString = 8, kArray = 9 };

class GgufWriter {
 public:
  void text(const std::string& key, const std::string& value) {
    entry(key, kString);
    put_text(metadata_, value);
  }
  void number(const std::string& key, uint32_t value) {
    entry(key, kU32);
    put(metadata_, value);
  }
  void real(const std::string& key, float value) {
    entry(key, kFloat);
    put(metadata_, value);
  }
  void any(const std::string& key, const std::variant<std::string, int, float, bool>& value) {
    if (const auto* string = std::get_if<std::string>(&value)) return text(key, *string);
    if (const auto* number = std::get_if<float>(&value)) return real(key, *number);
    const auto* integer = std::get_if<int>(&value);
    entry(key, integer ? kI32 : kBool);
    if (integer) {
      put(metadata_, int32_t(*integer));
    } else {
      put(metadata_, uint8_t(std::get<bool>(value)));
    }
  }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    entry(key, kArray);
    put(metadata_, uint32_t(kString));
    put(metadata_, uint64_t(values.size()));
    for (const std::string& value : values) put_text(metadata_, value);
  }
  void numbers(const std::string& key, const std::vector<int32_t>& values) {
    entry(key, kArray);
    put(metadata_, uint32_t(kI32));
    put(metadata_, uint64_t(values.size()));
    for (const int32_t value : values) put(metadata_, value);
  }

  void tensor(const std::string& name, Ggml type, std::vector<int64_t> shape,
              const std::string& bytes) {
    put_text(infos_, name);
    put(infos_, uint32_t(shape.size()));
    std::reverse(shape.begin(), shape.end());
    for (const int64_t size : shape) put(infos_, uint64_t(size));
    put(infos_, uint32_t(type));
    put(infos_, uint64_t(data_.size()));
    data_ += bytes;
    data_.append((32 - data_.size() % 32) % 32, '\0');
    ++tensors_;
  }

  void number16(const std::string& key, uint16_t value) {
    entry(key, kU16);
    put(metadata_, value);
  }

  std::string finish() const {
    std::string file = "GGUF";
    put(file, uint32_t(3));
    put(file, uint64_t(tensors_));
    put(file, uint64_t(entries_));
    file += metadata_ + infos_;
    file.append((32 - file.size() % 32) % 32, '\0');
    return file + data_;
  }

 private:
  void entry(const std::string& key, uint32_t type) {
    put_text(metadata_, key);
    put(metadata_, type);
    ++entries_;
  }
  std::string metadata_, infos_, data_;
  int entries_ = 0, tensors_ = 0;
};

std::string gguf_name(const std::string& name) {
  static const std::map<std::string, std::string> kTop = {
      {"emb.weight", "token_embd.weight"},
      {"blocks.0.ln0.weight", "token_embd_norm.weight"},
      {"blocks.0.ln0.bias", "token_embd_norm.bias"},
      {"ln_out.weight", "output_norm.weight"},
      {"ln_out.bias", "output_norm.bias"},
      {"head.weight", "output.weight"}};
  if (const auto at = kTop.find(name); at != kTop.end()) return at->second;
  static const std::map<std::string, std::string> kLayer = {
      {"ln1.weight", "attn_norm.weight"},
      {"ln1.bias", "attn_norm.bias"},
      {"ln2.weight", "attn_norm_2.weight"},
      {"ln2.bias", "attn_norm_2.bias"},
      {"att.receptance.weight", "time_mix_receptance.weight"},
      {"att.key.weight", "time_mix_key.weight"},
      {"att.value.weight", "time_mix_value.weight"},
      {"att.output.weight", "time_mix_output.weight"},
      {"att.ln_x.weight", "time_mix_ln.weight"},
      {"att.ln_x.bias", "time_mix_ln.bias"},
      {"ffn.x_k", "channel_mix_lerp_k.weight"},
      {"ffn.key.weight", "channel_mix_key.weight"},
      {"ffn.value.weight", "channel_mix_value.weight"}};
  const size_t dot = name.find('.', 7);
  const std::string layer = "blk." + name.substr(7, dot - 7) + ".";
  const std::string rest = name.substr(dot + 1);
  if (const auto at = kLayer.find(rest); at != kLayer.end()) return layer + at->second;
  return layer + "time_mix_" + rest.substr(4) + ".weight";
}

// Bytes 0 to 255 as ids 1 to 256, in the inside of Python's repr of the bytes.
void put_byte_vocabulary(GgufWriter& file, int vocab) {
  constexpr char kHex[] = "0123456789abcdef";
  std::vector<std::string> tokens = {"<s>"};
  std::vector<int32_t> types = {3};
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    if (byte == '\t') {
      text = "\\t";
    } else if (byte == '\n') {
      text = "\\n";
    } else if (byte == '\r') {
      text = "\\r";
    } else if (byte == '\\' || byte == '\'') {
      text = {'\\', char(byte)};
    } else if (byte >= 32 && byte < 127) {
      text = char(byte);
    } else {
      text = {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
    tokens.push_back(text);
    types.push_back(1);
  }
  while (int(tokens.size()) < vocab) {
    tokens.push_back("[PAD" + std::to_string(tokens.size()) + "]");
    types.push_back(5);
  }
  file.text("tokenizer.ggml.model", "rwkv");
  file.texts("tokenizer.ggml.tokens", tokens);
  file.numbers("tokenizer.ggml.token_type", types);
}

}  // namespace

namespace {

void put_metadata(GgufWriter& file, const Shape& s, const GgufOptions& options) {
  const std::string arch = options.architecture + ".";
  file.text("general.architecture", options.architecture);
  file.number(arch + "context_length", 1 << 20);
  file.number(arch + "embedding_length", s.width);
  file.number(arch + "block_count", s.layers);
  file.number(arch + "feed_forward_length", s.ffn);
  file.number(arch + "attention.head_count", 0);
  file.real(arch + "attention.layer_norm_epsilon", 1e-5f);
  file.number(arch + "wkv.head_size", s.head_size);
  for (const auto& [key, value] : options.metadata) file.any(key, value);
  if (options.byte_vocabulary) put_byte_vocabulary(file, s.vocab);
}

// Gives every tensor to `add` (name, type, shape, bytes), and returns the model as stored.
template <class Add>
RandomModel put_tensors(const RandomModel& model, const GgufOptions& options, Add add) {
  const Shape& s = model.shape;
  RandomModel stored = model;
  std::vector<double> fused;
  for (Tensor& tensor : stored.tensors) {
    if (options.unfused && tensor.name.find(".att.x_") != std::string::npos) {
      std::string name = gguf_name(tensor.name);
      name.replace(name.find("_x_"), 3, "_lerp_");
      add(name, Ggml::f32, std::vector<int64_t>{s.width}, pack(Float::f32, tensor.values));
      continue;
    }
    if (tensor.name.find(".att.x_") != std::string::npos) {
      fused.insert(fused.end(), tensor.values.begin(), tensor.values.end());
      if (!tensor.name.ends_with("x_g")) continue;
      std::string name = gguf_name(tensor.name);
      name = name.substr(0, name.size() - std::string("x_g.weight").size()) + "lerp_fused.weight";
      add(name, Ggml::f32, std::vector<int64_t>{6, 1, 1, s.width}, pack(Float::f32, fused));
      fused.clear();
      continue;
    }
    Ggml type = Ggml::f32;
    Tensor out = tensor;
    if (tensor.low_rank()) {
      out = transposed(tensor);
      const char c = tensor.name[tensor.name.size() - 2];
      if (c != 'w') type = options.low_rank;
    } else if (tensor.matrix()) {
      type = options.type;
    } else if (tensor.name.ends_with("ffn.x_k")) {
      out.shape = {1, 1, s.width};
    } else {
      out.shape = {s.width};
    }
    std::vector<double> values;
    const std::string bytes = pack(type, out.values, values);
    add(gguf_name(tensor.name), type, out.shape, bytes);
    out.values = values;
    tensor.values = tensor.low_rank() ? transposed(out).values : values;

    // llama.cpp's loader wants layer 0's unused v tensors: copies of a's.
    if (tensor.name.starts_with("blocks.0.att.a")) {
      std::string name = gguf_name(tensor.name);
      name[name.size() - std::string("a0.weight").size()] = 'v';
      add(name, type, out.shape, bytes);
    }
  }
  return stored;
}

}  // namespace

RandomModel write_gguf(const std::string& path, const RandomModel& model,
                       const GgufOptions& options) {
  GgufWriter file;
  put_metadata(file, model.shape, options);
  RandomModel stored =
      put_tensors(model, options, [&](const auto&... tensor) { file.tensor(tensor...); });
  write_file(path, file.finish());
  return stored;
}

void write_gguf_parts(const std::string& prefix, const RandomModel& model, int parts) {
  const GgufOptions options = {.type = Ggml::f32};
  std::vector<GgufWriter> files(static_cast<size_t>(parts));
  put_metadata(files[0], model.shape, options);
  int tensors = 0;
  put_tensors(model, options, [&](const auto&... tensor) {
    files[size_t(1 + tensors++ % (parts - 1))].tensor(tensor...);
  });
  for (int part = 0; part < parts; ++part) {
    GgufWriter& file = files[size_t(part)];
    file.number16("split.no", uint16_t(part));
    file.number16("split.count", uint16_t(parts));
    file.number("split.tensors.count", uint32_t(tensors));
    char ending[32];
    std::snprintf(ending, sizeof(ending), "-%05d-of-%05d.gguf", part + 1, parts);
    write_file(prefix + ending, file.finish());
  }
}

}  // namespace support
