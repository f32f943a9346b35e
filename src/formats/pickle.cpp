#include "formats/pickle.h"

#include <bit>
#include <optional>

#include "formats/byte_reader.h"
#include "formats/checks.h"
#include "formats/pickle_globals.h"
#include "formats/pickle_stack.h"

namespace anser {
namespace {

class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, const std::string& path)
      : reader_(bytes, path), path_(path), stack_(bytes.size()) {}

  Pickle run() {
    size_t at = 0;
    try {
      for (;;) {
        at = reader_.position();
        const auto opcode = reader_.read<uint8_t>("a pickle opcode");
        if (opcode == '.') break;  // STOP
        step(opcode, at);
      }
      pickle_.root = stack_.pop();
      if (!stack_.empty()) broken("values are left on the stack at the end");
    } catch (const PickleFault& fault) {
      fail(path_, "damaged pickle, at byte {} of data.pkl: {}. {}", at, fault.what, kFetchAgain);
    }
    pickle_.containers = stack_.take_containers();
    return std::move(pickle_);
  }

 private:
  // The opcodes that Python's pickle module (protocols 2 to 5) and torch's own C++ pickler emit for
  // plain data. Names as in Python's pickletools. One line each, as a table.
  // clang-format off
  void step(uint8_t opcode, size_t at) {
    using enum PickleKind;
    switch (opcode) {
      case 0x80: check_protocol(); break;
      case 0x95: reader_.read<uint64_t>("a frame's length"); break;     // FRAME
      case '(': stack_.mark(); break;
      case '0': stack_.pop(); break;
      case '1': stack_.drop(stack_.take_mark()); break;                 // POP_MARK
      case 'N': stack_.push({}); break;
      case 0x88: stack_.push_integer(boolean, 1); break;                // NEWTRUE
      case 0x89: stack_.push_integer(boolean, 0); break;                // NEWFALSE
      case 'J': push_number<int32_t>(); break;                          // BININT
      case 'K': push_number<uint8_t>(); break;                          // BININT1
      case 'M': push_number<uint16_t>(); break;                         // BININT2
      case 0x8a: push_long(read_length<uint8_t>()); break;              // LONG1
      case 0x8b: push_long(read_length<uint32_t>()); break;             // LONG4
      case 'G': push_float(); break;                                    // BINFLOAT
      case 'U': push_string(read_length<uint8_t>()); break;             // SHORT_BINSTRING
      case 'C': push_string(read_length<uint8_t>()); break;             // SHORT_BINBYTES
      case 0x8c: push_string(read_length<uint8_t>()); break;            // SHORT_BINUNICODE
      case 'T': push_string(read_length<uint32_t>()); break;            // BINSTRING
      case 'B': push_string(read_length<uint32_t>()); break;            // BINBYTES
      case 'X': push_string(read_length<uint32_t>()); break;            // BINUNICODE
      case 0x8d: push_string(read_length<uint64_t>()); break;           // BINUNICODE8
      case '}': stack_.collect(dict, stack_.nothing()); break;          // EMPTY_DICT
      case ']': stack_.collect(list, stack_.nothing()); break;          // EMPTY_LIST
      case ')': stack_.collect(tuple, stack_.nothing()); break;         // EMPTY_TUPLE
      case 't': stack_.collect(tuple, stack_.take_mark()); break;       // TUPLE
      case 0x85: stack_.collect(tuple, stack_.last(1)); break;          // TUPLE1
      case 0x86: stack_.collect(tuple, stack_.last(2)); break;          // TUPLE2
      case 0x87: stack_.collect(tuple, stack_.last(3)); break;          // TUPLE3
      case 'l': stack_.collect(list, stack_.take_mark()); break;        // LIST
      case 'd': stack_.collect(dict, stack_.take_mark()); break;        // DICT
      case 'a': stack_.extend(list, stack_.last(1)); break;             // APPEND
      case 'e': stack_.extend(list, stack_.take_mark()); break;         // APPENDS
      case 's': stack_.extend(dict, stack_.last(2)); break;             // SETITEM
      case 'u': stack_.extend(dict, stack_.take_mark()); break;         // SETITEMS
      case 'q': stack_.memoize(reader_.read<uint8_t>("an index")); break;    // BINPUT
      case 'r': stack_.memoize(reader_.read<uint32_t>("an index")); break;   // LONG_BINPUT
      case 0x94: stack_.memoize_next(); break;                          // MEMOIZE
      case 'h': stack_.recall(reader_.read<uint8_t>("an index")); break;     // BINGET
      case 'j': stack_.recall(reader_.read<uint32_t>("an index")); break;    // LONG_BINGET
      case 'c': push_global_lines(); break;                             // GLOBAL
      case 0x93: push_global_strings(); break;                          // STACK_GLOBAL
      case 'Q': push_storage(); break;                                  // BINPERSID
      case 'R': reduce(); break;
      case 'b': build(); break;
      default:
        fail(path_, "the pickle uses the opcode 0x{:02x} at byte {} of data.pkl, which plain "
             "checkpoints do not need. It was not run. Save only the model's state_dict with "
             "torch.save, or get the model as safetensors", opcode, at);
    }
  }
  // clang-format on

  void check_protocol() {
    const auto protocol = reader_.read<uint8_t>("the pickle protocol");
    if (protocol < 2 || protocol > 5) {
      broken(fmt::format("protocol {}, expected 2 to 5", protocol));
    }
  }

  // --- plain values

  template <typename T>
  void push_number() {
    stack_.push_integer(PickleKind::integer, reader_.read<T>("a number"));
  }

  template <typename T>
  uint64_t read_length() {
    return reader_.read<T>("a length");
  }

  // Two's complement in as many bytes as needed.
  void push_long(uint64_t length) {
    if (length > 8) broken(fmt::format("an integer of {} bytes, expected at most 8", length));
    const auto bytes = reader_.take(length, "an integer");
    uint64_t value = 0;
    for (size_t i = 0; i < length; ++i) value |= uint64_t(bytes[i]) << (8 * i);
    const bool negative = length > 0 && uint8_t(bytes[length - 1]) >= 0x80;
    if (negative && length < 8) value |= ~uint64_t{0} << (8 * length);
    stack_.push_integer(PickleKind::integer, int64_t(value));
  }

  // The only big-endian value of the format.
  void push_float() {
    PickleValue value;
    value.kind = PickleKind::real;
    value.real = std::bit_cast<double>(__builtin_bswap64(reader_.read<uint64_t>("a float")));
    stack_.push(value);
  }

  void push_string(uint64_t length) {
    const std::string_view text = as_text(reader_.take(length, "a string"));
    if (text.size() > UINT32_MAX) broken("a string of more than 4 GB");
    PickleValue value;
    value.kind = PickleKind::string;
    value.length = uint32_t(text.size());
    value.text = text.data();
    stack_.push(value);
  }

  // --- global names

  void push_global_lines() {
    const std::string_view module = read_line();
    push_global(module, read_line());
  }

  void push_global_strings() {
    const PickleValue name = stack_.pop(), module = stack_.pop();
    if (module.kind != PickleKind::string || name.kind != PickleKind::string) {
      broken("a global's name is no string");
    }
    push_global(module.string(), name.string());
  }

  std::string_view read_line() {
    constexpr size_t kMaxLine = 256;
    const char* start = nullptr;
    for (size_t length = 0; length < kMaxLine; ++length) {
      const std::string_view next = as_text(reader_.take(1, "a global's name"));
      if (start == nullptr) start = next.data();
      if (next[0] == '\n') return {start, length};
    }
    broken("a global's name is too long");
  }

  void push_global(std::string_view module, std::string_view name) {
    const std::optional<size_t> index = find_pickle_global(module, name);
    if (!index) {
      fail(
          path_,
          "the pickle asks for {}, which a plain checkpoint does not need. It was not run, but a "
          "file that asks for code may be unsafe. If you trust its source, load it with torch.load "
          "and save only the state_dict, with torch.save or as safetensors",
          printable(fmt::format("{}.{}", module, name)));
    }
    stack_.push_index(PickleKind::global, *index);
  }

  static const PickleGlobal& global(PickleValue value, const char* what) {
    if (value.kind != PickleKind::global) broken(fmt::format("{} is no global name", what));
    return pickle_global(value.index);
  }

  // --- tensors

  // The persistent id ('storage', class, key, device, size). The device is of no interest: the
  // bytes are the same.
  void push_storage() {
    const auto& id = stack_.tuple(stack_.pop(), "a persistent id");
    if (id.size() != 5 || id[0].kind != PickleKind::string || id[0].string() != "storage" ||
        id[2].kind != PickleKind::string || id[4].kind != PickleKind::integer) {
      broken("a persistent id is not ('storage', class, key, device, size)");
    }
    const PickleGlobal& type = global(id[1], "a storage's class");
    if (type.kind != GlobalKind::storage) broken("a storage's class is none");
    if (id[4].integer < 0) broken("a storage has a negative size");
    if (pickle_.storages.size() == kMaxTensors) broken("too many storages");
    pickle_.storages.push_back({type.type, type.untyped, id[2].string(), id[4].integer, type.name});
    stack_.push_index(PickleKind::storage, pickle_.storages.size() - 1);
  }

  void reduce() {
    const auto& arguments = stack_.tuple(stack_.pop(), "the arguments of a call");
    switch (global(stack_.pop(), "what is called").kind) {
      case GlobalKind::ordered_dict:
        if (!arguments.empty()) broken("an OrderedDict is made with arguments");
        return stack_.collect(PickleKind::dict, stack_.nothing());
      case GlobalKind::rebuild_tensor:
        return push_tensor(arguments, false);
      case GlobalKind::rebuild_tensor_v3:
        return push_tensor(arguments, true);
      case GlobalKind::parameter:
        if (arguments.empty() || arguments[0].kind != PickleKind::tensor) {
          broken("a Parameter holds no tensor");
        }
        return stack_.push(arguments[0]);
      case GlobalKind::size:
        if (arguments.size() != 1 || arguments[0].kind != PickleKind::tuple) {
          broken("a torch.Size is made of something else than a tuple");
        }
        return stack_.push(arguments[0]);
      case GlobalKind::storage:
      case GlobalKind::dtype:
        broken("a type is called");
    }
  }

  // (storage, offset, shape, strides, requires_grad, hooks[, type]). What is not looked at here has
  // no meaning for reading weights.
  void push_tensor(const std::vector<PickleValue>& arguments, bool with_type) {
    if (arguments.size() < (with_type ? 7 : 4) || arguments[0].kind != PickleKind::storage ||
        arguments[1].kind != PickleKind::integer) {
      broken("a tensor is not made of storage, offset, shape and strides");
    }
    const auto& shape = stack_.tuple(arguments[2], "a tensor's shape");
    const auto& strides = stack_.tuple(arguments[3], "a tensor's strides");
    if (shape.size() != strides.size()) broken("a tensor has not as many strides as dimensions");
    if (shape.size() > kMaxRank) {
      broken(fmt::format("a tensor has {} dimensions, at most {} are accepted", shape.size(),
                         kMaxRank));
    }
    for (const auto* numbers : {&shape, &strides}) {
      for (const PickleValue& number : *numbers) {
        if (number.kind != PickleKind::integer) broken("a tensor's shape holds no integers");
      }
    }
    DType type = pickle_.storages[arguments[0].index].type;
    std::string_view type_name = pickle_.storages[arguments[0].index].type_name;
    if (with_type) {
      const PickleGlobal& named = global(arguments[6], "a tensor's type");
      if (named.kind != GlobalKind::dtype) broken("a tensor's type is none");
      type = named.type;
      type_name = named.name;
    }
    if (pickle_.tensors.size() == kMaxTensors) broken("too many tensors");
    pickle_.tensors.push_back({arguments[0].index, type, arguments[1].integer, arguments[2].index,
                               arguments[3].index, type_name});
    stack_.push_index(PickleKind::tensor, pickle_.tensors.size() - 1);
  }

  // Attributes of an object, such as a state_dict's _metadata: of no interest.
  void build() {
    stack_.pop();
    const PickleKind kind = stack_.top().kind;
    if (kind != PickleKind::dict && kind != PickleKind::tensor) {
      broken("attributes are set on what is no dict or tensor");
    }
  }

  ByteReader reader_;
  const std::string& path_;
  PickleStack stack_;
  Pickle pickle_;
};

}  // namespace

Pickle read_pickle(std::span<const std::byte> bytes, const std::string& path) {
  return PickleMachine(bytes, path).run();
}

}  // namespace anser
