#include "store/backend.h"

#include "store/sample_states.h"
#include "support/temp_dir.h"

#ifdef ANSER_WITH_REDIS
#include "store/redis_client.h"
#endif

namespace support {
namespace {

using namespace anser;

std::unique_ptr<States> open_at(const std::string& address, uint64_t max_ram_bytes) {
  OpenStatesOptions options;
  options.max_ram_bytes = max_ram_bytes;
  return open_states(address, options).states;
}

class FolderBackend : public Backend {
 public:
  std::unique_ptr<States> open(uint64_t max_ram_bytes) override {
    return open_at(dir_.path(), max_ram_bytes);
  }
  size_t contents() override { return files_of(dir_.path(), ".zst").size(); }
  size_t records() override { return files_of(dir_.path(), ".json").size(); }
  void damage_content(const std::string& content) override {
    write_file(dir_ / (content + ".zst"), "garbage");
  }

 private:
  const TempDir dir_;
};

#ifdef ANSER_WITH_REDIS
class RedisBackend : public Backend {
 public:
  std::unique_ptr<States> open(uint64_t max_ram_bytes) override {
    return open_at(server_.url(), max_ram_bytes);
  }
  size_t contents() override { return client_.keys("anser:1:content:*").size(); }
  size_t records() override { return client_.keys("anser:1:state:*").size(); }
  void damage_content(const std::string& content) override {
    client_({"SET", "anser:1:content:" + content, "garbage"});
  }

 private:
  RedisServer server_;
  RedisClient client_ = RedisClient(server_.url());
};
#endif

}  // namespace

std::unique_ptr<Backend> folder_backend() {
  return std::make_unique<FolderBackend>();
}

#ifdef ANSER_WITH_REDIS
std::string why_no_redis() {
  return RedisServer::installed() ? "" : "redis-server is not installed: tools/setup.sh scaleout";
}

std::unique_ptr<Backend> redis_backend() {
  return std::make_unique<RedisBackend>();
}
#else
std::string why_no_redis() {
  return "built without hiredis";
}

std::unique_ptr<Backend> redis_backend() {
  return nullptr;
}
#endif

}  // namespace support
