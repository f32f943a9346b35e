// The keys that a server takes, and whose they are. Names may be shown, in logs and metrics; keys
// never are.
//
// A file of keys has one a line, with the name of its holder before it or none:
//
//     # comments, and empty lines, mean nothing
//     alice  sk-alice-1
//     alice  sk-alice-2
//     sk-of-nobody-in-particular
//
// Several keys of one name have one holder, so that a key can be changed while both are taken.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace anser {

class ApiKeys {
 public:
  ApiKeys() = default;
  ApiKeys(std::initializer_list<std::string> keys) {
    for (const std::string& key : keys) add(key);
  }

  // All throw Error, which never repeats a key: for one that is empty, has blanks at its ends or
  // control characters in it, or is another holder's; and for a name that is no word.
  // Without a name it is called by its place: "key-1" is the first of all.
  void add(const std::string& key, const std::string& name = {});
  // Returns what the operator should know: that other users of the machine can read the file.
  std::optional<std::string> add_file(const std::filesystem::path& path);

  bool empty() const { return keys_.empty(); }
  std::vector<std::string> names() const;  // of holders, in order

  // Whether somebody has it.
  bool knows(std::string_view key) const { return find(key) != nullptr; }
  // The holder of the key; nullptr: nobody has it. Takes the same time wherever they differ, and
  // whosever it is.
  const std::string* holder(std::string_view key) const;
  // Whether nobody has it.
  bool refuses(std::string_view key) const;

  // Requests with a key of each holder, and with none that is known; counted by holder(), and by
  // refuses() where it is true.
  struct Count {
    std::string name;
    uint64_t requests;
  };
  std::vector<Count> counts() const;
  uint64_t refused() const { return tally_->refused; }

 private:
  struct Key {
    std::string key;
    size_t holder;
  };
  struct Tally {
    std::vector<std::unique_ptr<std::atomic<uint64_t>>> requests;  // of each holder
    std::atomic<uint64_t> refused{0};
  };

  const std::string* find(std::string_view key) const;

  std::vector<Key> keys_;
  std::vector<std::string> holders_;
  std::shared_ptr<Tally> tally_ = std::make_shared<Tally>();  // of all copies
};

}  // namespace anser
