// What torch.save writes: a zip archive <root>/data.pkl, <root>/data/<key>, <root>/byteorder, ...
// The pickle describes the tensors, each data/<key> is the bytes of a storage. Several tensors may
// lie in one storage, in any strides.
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "formats/byte_reader.h"
#include "formats/checks.h"
#include "formats/pickle.h"
#include "formats/zip_directory.h"

namespace anser {
namespace {

class PthReader {
 public:
  PthReader(std::span<const std::byte> bytes, const std::string& path)
      : path_(path), file_bytes_(bytes.size()) {
    for (const ZipEntry& entry : read_zip_directory(bytes, path)) {
      entries_.emplace(entry.name, entry.data);
    }
    find_root();
    check_byte_order();
  }

  TensorFile read() {
    pickle_ = read_pickle(entries_.at(root_ + "data.pkl"), path_);
    if (pickle_.root.kind != PickleKind::dict) {
      fail(path_, "it holds {}, expected a dict of tensors (a state_dict)",
           pickle_.root.kind == PickleKind::tensor ? "a single tensor" : "plain data");
    }
    collect(unwrap(pickle_.root), "", 0);
    check_unique_names(path_, file_.tensors);
    file_.path = path_;
    file_.format = FileFormat::pth;
    return std::move(file_);
  }

 private:
  // The folder all entries lie in is named after the file as it was saved.
  void find_root() {
    const std::string_view wanted = "data.pkl";
    bool found = false;
    for (const auto& [name, data] : entries_) {
      if (name != wanted && !name.ends_with("/data.pkl")) continue;
      if (std::exchange(found, true)) {
        fail(path_, "the archive holds more than one data.pkl, expected one checkpoint");
      }
      root_ = name.substr(0, name.size() - wanted.size());
    }
    if (!found) {
      fail(path_,
           "a zip archive of {} entries without a data.pkl: not a checkpoint of torch.save. If it "
           "packs a model, unpack it first",
           entries_.size());
    }
    if (entries_.count(root_ + "constants.pkl") != 0) {
      fail(path_,
           "a TorchScript archive, which holds a program. Load it with torch.jit.load and save its "
           "state_dict with torch.save");
    }
  }

  void check_byte_order() const {
    const auto found = entries_.find(root_ + "byteorder");
    if (found == entries_.end()) return;
    const std::string_view order = as_text(found->second);
    if (order != "little") {
      fail(path_, "its byte order is {}, expected 'little'. Save it again on a common machine",
           printable(order));
    }
  }

  const std::vector<PickleValue>& items(const PickleValue& value) const {
    return pickle_.containers[value.index];
  }

  // Trainers put the state_dict beside the optimizer's state: {"state_dict": {...}, "epoch": 3}.
  PickleValue unwrap(PickleValue dict) const {
    constexpr int kMaxWrappers = 4;
    for (int i = 0; i < kMaxWrappers; ++i) {
      const PickleValue* inner = nullptr;
      for (const std::string_view wrapper : {"state_dict", "model", "module"}) {
        const auto& pairs = items(dict);
        for (size_t k = 0; k < pairs.size(); k += 2) {
          if (pairs[k + 1].kind == PickleKind::tensor) return dict;
          if (inner == nullptr && pairs[k].kind == PickleKind::string &&
              pairs[k].string() == wrapper && pairs[k + 1].kind == PickleKind::dict) {
            inner = &pairs[k + 1];
          }
        }
      }
      if (inner == nullptr) return dict;
      dict = *inner;
    }
    return dict;
  }

  // A dict within the dict gives its tensors a prefix, as torch.nn.Module names its parts.
  void collect(const PickleValue& dict, const std::string& prefix, int depth) {
    constexpr int kMaxDepth = 8;
    if (depth > kMaxDepth) fail(path_, "its dicts are nested more than {} deep", kMaxDepth);
    // Also what keeps a small pickle from describing an endless tree.
    if (!visited_.insert(dict.index).second) {
      fail(path_, "the same dict occurs twice, at {}; expected a tree", printable(prefix));
    }
    const auto& pairs = items(dict);
    for (size_t i = 0; i < pairs.size(); i += 2) {
      const PickleValue& key = pairs[i];
      const PickleValue& value = pairs[i + 1];
      const bool tensor = value.kind == PickleKind::tensor;
      if (!tensor && value.kind != PickleKind::dict) continue;
      if (key.kind != PickleKind::string) {
        // Optimizers count their parameters.
        if (!tensor) continue;
        fail(path_, "a tensor in the dict {} has no name but another kind of key",
             printable(prefix));
      }
      std::string name = prefix;
      name += key.string().substr(0, kMaxNameBytes + 1);
      if (name.size() > kMaxNameBytes) check_tensor_name(path_, name);
      if (tensor) {
        if (file_.tensors.size() == kMaxTensors) {
          fail(path_, "it holds more than {} tensors", kMaxTensors);
        }
        file_.tensors.push_back(to_tensor(std::move(name), pickle_.tensors[value.index]));
      } else {
        collect(value, name + ".", depth + 1);
      }
    }
  }

  std::vector<int64_t> integers(size_t container) const {
    std::vector<int64_t> out;
    for (const PickleValue& value : pickle_.containers[container]) out.push_back(value.integer);
    return out;
  }

  FileTensor to_tensor(std::string name, const PickleTensor& described) const {
    check_tensor_name(path_, name);
    const PickleStorage& storage = pickle_.storages[described.storage];
    FileTensor tensor{.name = std::move(name),
                      .type = described.type,
                      .shape = integers(described.shape),
                      .strides = integers(described.strides),
                      .bytes = {}};
    const int64_t elements = checked_elements(path_, tensor.name, tensor.shape);
    const auto data = storage_bytes(tensor.name, storage);
    if (tensor.type == DType::unsupported) {
      tensor.unsupported_type = described.type_name;
      return tensor;
    }
    const int64_t element_bytes = block_bytes(tensor.type);
    // With stride 0 a tensor can be larger than its storage. That is legal, but must not let a
    // small file ask for any amount of memory when somebody makes the tensor contiguous.
    if (uint64_t(elements) > file_bytes_ / uint64_t(element_bytes)) {
      fail(path_, "tensor {} of type {} and shape {} is larger than the file of {} bytes",
           printable(tensor.name), dtype_name(tensor.type), tensor.shape_text(), file_bytes_);
    }
    if (elements > 0) {
      const auto [begin, end] = element_range(tensor, described.offset);
      if (end > int64_t(data.size()) / element_bytes) {
        fail(path_,
             "tensor {} of shape {} reaches from element {} to {} of its storage data/{}, which "
             "holds "
             "only {}",
             printable(tensor.name), tensor.shape_text(), begin, end, printable(storage.key),
             int64_t(data.size()) / element_bytes);
      }
      tensor.bytes = data.subspan(begin * element_bytes, (end - begin) * element_bytes);
    }
    return tensor;
  }

  std::span<const std::byte> storage_bytes(const std::string& name,
                                           const PickleStorage& storage) const {
    constexpr size_t kMaxKey = 64;  // keys are small numbers
    const std::string_view key = storage.key.substr(0, kMaxKey);
    const auto found = entries_.find(fmt::format("{}data/{}", root_, key));
    if (found == entries_.end()) {
      fail(path_, "the archive lacks the entry data/{} with the bytes of tensor {}. {}",
           printable(key), printable(name), kFetchAgain);
    }
    const int64_t element_bytes = storage.untyped ? 1 : block_bytes(storage.type);
    const auto bytes = found->second;
    // Types without a size of ours are not read either.
    if (element_bytes > 0 && (bytes.size() % element_bytes != 0 ||
                              storage.size != int64_t(bytes.size() / size_t(element_bytes)))) {
      fail(path_, "the storage data/{} of tensor {} has {} bytes, expected {} elements of {} bytes",
           printable(key), printable(name), bytes.size(), storage.size, element_bytes);
    }
    return bytes;
  }

  // The elements from the first of the tensor to the end of its last, in its storage.
  struct Range {
    int64_t begin, end;
  };
  Range element_range(const FileTensor& tensor, int64_t offset) const {
    int64_t end = offset;
    bool overflow = offset < 0 || __builtin_add_overflow(end, 1, &end);
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      int64_t reach = 0;
      overflow = overflow || tensor.strides[i] < 0 ||
                 __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach) ||
                 __builtin_add_overflow(end, reach, &end);
    }
    if (overflow) {
      fail(path_, "tensor {} has an impossible place: offset {}, shape {}, strides {}",
           printable(tensor.name), offset, tensor.shape_text(), shape_text(tensor.strides));
    }
    return {offset, end};
  }

  const std::string& path_;
  const size_t file_bytes_;
  std::unordered_map<std::string_view, std::span<const std::byte>> entries_;
  std::string root_;  // "model/", or empty
  Pickle pickle_;
  std::unordered_set<size_t> visited_;  // containers
  TensorFile file_;
};

}  // namespace

TensorFile parse_pth(std::span<const std::byte> bytes, const std::string& path) {
  return PthReader(bytes, path).read();
}

}  // namespace anser
