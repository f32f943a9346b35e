#include "checkpoint/find_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <utility>
#include <variant>

#include "anser/error.h"
#include "checkpoint/hf_tokenizer.h"
#include "checkpoint/tensor_names.h"
#include "formats/checks.h"
#include "formats/hf_folder.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVocabularyFile = "rwkv_vocab_v20230424.txt";
constexpr int kWorldRows = 65536;
// Writers of GGUF have no other number for "there is none" in 32 bits.
constexpr int64_t kNoToken = 0xffffffff;

const MetaValue* find(const TensorFile& file, const char* key) {
  const auto at = file.metadata.find(key);
  return at == file.metadata.end() ? nullptr : &at->second;
}

template <class T>
const T* find_as(const TensorFile& file, const char* key) {
  const MetaValue* value = find(file, key);
  return value == nullptr ? nullptr : std::get_if<T>(value);
}

// One id or a list of them; in safetensors, whose metadata is text: "0,5". Others are no ids.
std::vector<int64_t> ids_under(const TensorFile& file, const char* key) {
  if (const auto* id = find_as<int64_t>(file, key)) return {*id};
  if (const auto* ids = find_as<std::vector<int64_t>>(file, key)) return *ids;
  std::vector<int64_t> ids;
  const auto* text = find_as<std::string>(file, key);
  for (size_t begin = 0; text != nullptr && begin < text->size();) {
    const size_t end = std::min(text->find(',', begin), text->size());
    int64_t id = 0;
    const auto [stopped, error] = std::from_chars(text->data() + begin, text->data() + end, id);
    if (error == std::errc() && stopped == text->data() + end) ids.push_back(id);
    begin = end + 1;
  }
  return ids;
}

class Search {
 public:
  Search(const TensorFile& file, int rows) : file_(file), rows_(rows) {
    std::error_code ignored;
    const fs::path path(file.path);
    const bool is_folder = fs::is_directory(path, ignored);
    folder_ = (is_folder ? path : path.parent_path()).string();
    if (folder_.empty()) folder_ = ".";
    hugging_face_ = file.format == FileFormat::hf_folder ||
                    (is_folder && file.format != FileFormat::gguf) ||
                    (file.format != FileFormat::gguf &&
                     (find_tensor_names(file).hugging_face || is_usual_hf_file(file.path)));
  }

  FoundTokenizer run(const std::string& vocabulary_file) {
    if (!vocabulary_file.empty()) {
      found_.tokenizer = fitting(Tokenizer::from_vocabulary_file(vocabulary_file));
      say_if_small();
    } else {
      search();
    }
    if (found_.tokenizer) set_ends();
    return std::move(found_);
  }

 private:
  void search() {
    const MetaValue* stated = find(file_, kModelKey);
    if (stated != nullptr) {
      const auto* kind = std::get_if<std::string>(stated);
      const bool ours = kind != nullptr && *kind == kWorldKind;
      const bool none = kind != nullptr && (*kind == kNoVocabulary || *kind == "none");
      if (ours && read_own()) return;
      if (none) {
        found_.tokenizer = beside();
        return miss("the file says that it holds none, and {}", nothing_beside());
      }
      if (!ours) {
        return miss(
            "its own vocabulary is {}, by its tokenizer.ggml.model, and anser reads RWKV's, "
            "rwkv",
            kind == nullptr ? "of a kind that is no text" : printable(*kind));
      }
    }
    if (stated == nullptr && find(file_, kTokensKey) != nullptr) {
      return miss("it holds a vocabulary without tokenizer.ggml.model, which tells of what kind");
    }
    if (hugging_face_ && ask_folder()) return;
    if ((found_.tokenizer = beside())) return;
    if (rows_ == 256) {
      found_.tokenizer = Tokenizer::bytes();
    } else if (rows_ == kWorldRows && Tokenizer::has_builtin_world()) {
      found_.tokenizer = Tokenizer::builtin_world();
    }
    const bool pile = rows_ == 50304 || rows_ == 50277;
    miss("the file holds none, and {}{}{}", nothing_beside(),
         rows_ == kWorldRows ? ", and this program was built without the World vocabulary" : "",
         pile ? " (so many tokens have models of the Pile, whose GPT-NeoX vocabulary anser cannot "
                "read)"
              : "");
  }

  // GGUF's.
  bool read_own() {
    const auto* tokens = find_as<std::vector<std::string>>(file_, kTokensKey);
    if (tokens == nullptr) return false;
    std::span<const int64_t> types;
    if (const auto* list = find_as<std::vector<int64_t>>(file_, kTypesKey)) types = *list;
    found_.tokenizer = fitting(Tokenizer::from_escaped(*tokens, types, file_.path));
    return true;
  }

  // What a Hugging Face folder says. False: it says nothing.
  bool ask_folder() {
    const std::optional<Tokenizer> world = beside_or_built_in();
    HfTokenizer said;
    try {
      said = read_hf_tokenizer(folder_, world);
    } catch (const Error& error) {
      miss("{}", error.what());
      return true;
    }
    if (said.kind == HfTokenizer::Kind::unsaid) return false;
    if (said.kind == HfTokenizer::Kind::foreign) {
      miss("its own is another one than RWKV's, which anser reads: {}", said.found);
      return true;
    }
    found_.tokenizer = said.tokenizer ? said.tokenizer : world;
    if (found_.tokenizer && found_.tokenizer->size() > rows_) found_.tokenizer.reset();
    miss("its files say that it is RWKV's, but {}{}", nothing_beside(),
         Tokenizer::has_builtin_world()
             ? fmt::format(", and the World vocabulary has more than {} tokens", rows_)
             : ", and this program was built without the World vocabulary");
    if (found_.tokenizer) add(std::move(said.added));
    return true;
  }

  void add(std::vector<AddedToken> added) {
    const Tokenizer& tokenizer = *found_.tokenizer;
    std::erase_if(added, [&](const AddedToken& token) {
      const bool there = token.id >= 0 && token.id < rows_;
      if (!there) {
        note("the added token {} has the id {}, but the model knows only {} tokens: it is not used",
             printable(token.text), token.id, rows_);
      }
      // White space that the vocabulary has belongs to longer tokens, too, as in training.
      const bool known = tokenizer.bytes_of(token.id) == token.text &&
                         token.text.find_first_not_of(" \t\r\n") == std::string::npos;
      return !there || known;
    });
    if (!added.empty()) found_.tokenizer = tokenizer.with_added(added);
  }

  // ---- vocabulary files beside the model ----

  // The usual name, or the only other one of its kind (rwkv_vocab_v20260603.txt).
  std::string vocabulary_file() const {
    std::error_code error;
    const fs::path usual = fs::path(folder_) / kVocabularyFile;
    if (fs::is_regular_file(usual, error)) return usual.string();
    std::vector<std::string> others;
    for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
      const std::string name = at->path().filename().string();
      std::error_code ignored;
      if (name.starts_with("rwkv_vocab_v") && name.ends_with(".txt") &&
          at->is_regular_file(ignored)) {
        others.push_back(at->path().string());
      }
    }
    return others.size() == 1 ? others.front() : "";
  }

  // One that does not fit may be another model's: folders can hold several.
  std::optional<Tokenizer> beside() const {
    const std::string path = vocabulary_file();
    if (path.empty()) return std::nullopt;
    Tokenizer tokenizer = Tokenizer::from_vocabulary_file(path);
    return tokenizer.size() <= rows_ ? std::optional(std::move(tokenizer)) : std::nullopt;
  }

  std::optional<Tokenizer> beside_or_built_in() const {
    std::optional<Tokenizer> tokenizer = beside();
    if (!tokenizer && Tokenizer::has_builtin_world()) tokenizer = Tokenizer::builtin_world();
    return tokenizer;
  }

  std::string nothing_beside() const {
    return fmt::format("there is no fitting {} beside it", kVocabularyFile);
  }

  // ---- what a text begins after and ends with ----

  void set_ends() {
    const Tokenizer& tokenizer = *found_.tokenizer;
    std::optional<Token> bos;
    std::vector<Token> eos;
    const auto take = [&](const std::vector<int64_t>& ids, const char* what) {
      std::vector<Token> taken;
      for (const int64_t id : ids) {
        if (id < 0 || id == kNoToken || is_unmeant(id)) continue;
        if (id < rows_) {
          taken.push_back(Token(id));
        } else {
          note("its {} is said to be {}, but the model knows only {} tokens: it is not used", what,
               id, rows_);
        }
      }
      return taken;
    };
    const auto add = [&](const std::vector<int64_t>& ids) {
      const std::vector<Token> more = take(ids, "eos token");
      eos.insert(eos.end(), more.begin(), more.end());
    };
    std::vector<int64_t> bos_said = ids_under(file_, kBosKey);
    add(ids_under(file_, kEosKey));
    add(ids_under(file_, kAllEosKey));
    if (hugging_face_) {
      if (bos_said.empty()) bos_said = ids_under(file_, "bos_token_id");
      add(ids_under(file_, "eos_token_id"));
      try {
        add(generation_eos(folder_));
      } catch (const Error& error) {
        note("{}", error.what());
      }
    }
    if (const auto taken = take(bos_said, "bos token"); !taken.empty()) bos = taken.front();
    found_.tokenizer = tokenizer.with_ends(bos, eos);
  }

  // fla's config.json has transformers' 1 and 2, whatever the vocabulary. In World's these are the
  // bytes 0 and 1, which neither begin nor end a text.
  bool is_unmeant(int64_t id) const {
    const Tokenizer& tokenizer = *found_.tokenizer;
    return hugging_face_ && (id == 1 || id == 2) && tokenizer.bytes_of(0).empty() &&
           tokenizer.bytes_of(Token(id)) == std::string_view("\0\1", 2).substr(size_t(id) - 1, 1);
  }

  // ---- words ----

  Tokenizer fitting(Tokenizer tokenizer) const {
    if (tokenizer.size() > rows_) {
      throw Error(fmt::format("{} has token ids up to {}, but the model ({}) knows only {} tokens",
                              tokenizer.source(), tokenizer.size() - 1, file_.path, rows_));
    }
    return tokenizer;
  }

  // Rows are padded to round numbers, but not by so much.
  void say_if_small() {
    const int size = found_.tokenizer->size();
    if (size < rows_ / 4 * 3) {
      note(
          "the vocabulary {} has texts for {} of the model's {} tokens only; is it another "
          "model's?",
          found_.tokenizer->source(), size, rows_);
    }
  }

  template <class... Args>
  void note(fmt::format_string<Args...> text, Args&&... args) {
    found_.notes.push_back(
        fmt::format("{}: {}", file_.path, fmt::format(text, std::forward<Args>(args)...)));
  }

  // Where nothing has been found.
  template <class... Args>
  void miss(fmt::format_string<Args...> why, Args&&... args) {
    if (found_.tokenizer) return;
    found_.missing = fmt::format(
        "{}: no tokenizer for its {} tokens: {}. Name the model's vocabulary, in the grammar of "
        "{}, "
        "with --vocab FILE; anser logits --tokens needs none",
        file_.path, rows_, fmt::format(why, std::forward<Args>(args)...), kVocabularyFile);
  }

  const TensorFile& file_;
  const int rows_;
  std::string folder_;
  bool hugging_face_ = false;
  FoundTokenizer found_;
};

}  // namespace

FoundTokenizer find_tokenizer(const TensorFile& file, int rows,
                              const std::string& vocabulary_file) {
  return Search(file, rows).run(vocabulary_file);
}

}  // namespace anser
