#include "formats/recognise.h"

#include <algorithm>
#include <string_view>

#include "formats/byte_reader.h"
#include "formats/checks.h"

namespace anser {
namespace {

using namespace std::string_view_literals;

constexpr const char* kExpected = "expected safetensors, a .pth of torch.save or GGUF";

// What people have at hand instead of a checkpoint, by its first bytes.
struct Stranger {
  std::string_view start;
  const char* is;
  const char* advice;
};

constexpr const char* kUnpack = "Unpack it first";
constexpr const char* kRwkvCpp =
    "Its tensors cannot be told from other versions safely; convert the original .pth instead, or "
    "load that directly";

constexpr Stranger kStrangers[] = {
    {"version https://git-lfs.github.com/spec/"sv, "a git-lfs pointer, not the file itself",
     "Run 'git lfs pull' in its repository, or download the file from the web page"},
    // 0x67676d66, 0x67676d6c and 0x67676a74, little endian.
    {"fmgg"sv, "an rwkv.cpp model (ggmf)", kRwkvCpp},
    {"lmgg"sv, "an old ggml model", kRwkvCpp},
    {"tjgg"sv, "an old ggml model (ggjt)", kRwkvCpp},
    {"FUGG"sv, "a big-endian GGUF file", "Get the little-endian one"},
    {"\x1f\x8b"sv, "compressed with gzip", kUnpack},
    {"\x28\xb5\x2f\xfd"sv, "compressed with zstd", kUnpack},
    {"\xfd\x37zXZ"sv, "compressed with xz", kUnpack},
    {"BZh"sv, "compressed with bzip2", kUnpack},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive", kUnpack},
    {"Rar!"sv, "a RAR archive", kUnpack},
    {"\x89HDF"sv, "an HDF5 file", "Save the model as safetensors"},
    {"\x93NUMPY"sv, "a NumPy array", "Save the model as safetensors"},
    {"ANSERST\0"sv, "a saved state of anser",
     "Give the model with -m and the state with --load-state"},
};

bool starts_like_html(std::string_view text) {
  constexpr size_t kEnough = 64;
  const size_t start = std::min(text.find_first_not_of(" \t\r\n\xef\xbb\xbf"), text.size());
  std::string head(text.substr(start, kEnough));
  for (char& c : head) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return head.starts_with("<!doctype") || head.starts_with("<html") || head.starts_with("<?xml");
}

// Before 1.6 torch.save wrote bare pickles, one after the other; the first is this number.
bool is_old_torch_pickle(std::string_view text) {
  return text.size() >= 3 && text.starts_with("\x80"sv) && text[1] >= 2 && text[1] <= 5;
}

bool is_tar(std::string_view text) {
  constexpr size_t kMagic = 257;
  return text.size() > kMagic + 5 && text.substr(kMagic, 5) == "ustar";
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    out += fmt::format("{}{:02x}", out.empty() ? "" : " ", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

FileFormat recognise_format(std::span<const std::byte> bytes, const std::string& path) {
  const std::string_view text = as_text(bytes);
  if (text.empty()) fail(path, "the file is empty. Fetch it again");
  if (text.starts_with("GGUF")) return FileFormat::gguf;
  // The first entry of an archive, or the end record of an empty one.
  if (text.starts_with("PK\3\4"sv) || text.starts_with("PK\5\6"sv)) return FileFormat::pth;
  // A header length below 2^40 has zeros here; text has not. Larger than the reader accepts, so
  // that it can say so.
  if (text.size() > 8 && text[8] == '{' && text.substr(5, 3) == "\0\0\0"sv) {
    return FileFormat::safetensors;
  }

  for (const Stranger& stranger : kStrangers) {
    if (text.starts_with(stranger.start)) {
      fail(path, "{}; {}. {}", stranger.is, kExpected, stranger.advice);
    }
  }
  if (starts_like_html(text)) {
    fail(path,
         "a web page, not a model; {}. The download link led to a page: use the link of the file "
         "itself, and log in where the model asks for it",
         kExpected);
  }
  if (is_old_torch_pickle(text)) {
    fail(
        path,
        "a bare pickle, as torch.save wrote it before version 1.6; {}. Load it with torch.load and "
        "save its state_dict again with a current torch",
        kExpected);
  }
  if (is_tar(text)) fail(path, "a tar archive; {}. {}", kExpected, kUnpack);
  // The first line of a vocabulary in World grammar is that of token 1.
  if (text.starts_with("1 '") || text.starts_with("1 b'") || text.starts_with("1 \"")) {
    fail(path, "a vocabulary, not a model; {}. Give the model with -m and this with --vocab",
         kExpected);
  }
  if (text.starts_with('{')) {
    fail(path, "a JSON text; {}. For a Hugging Face model give its folder", kExpected);
  }
  fail(path, "not a model file we know: it starts with the bytes {}; {}", hex(text.substr(0, 8)),
       kExpected);
}

}  // namespace anser
