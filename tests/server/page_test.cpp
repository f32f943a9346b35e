// The page's files as a browser gets them. What it does is tested in one: tests/page.
#include "server/page/page.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "server/http/router.h"
#include "server/http_client.h"

namespace anser {
namespace {

using http::Answer;

class PageTest : public testing::Test {
 protected:
  void SetUp() override {
    http::Router router;
    for (const Route& route : page_routes()) {
      router.add(route.method, route.path,
                 [handle = route.handle](http::Request request, const auto& reply) {
                   handle(request, reply);
                 });
    }
    server_ = std::make_unique<http::Server>(http::any_port(), std::move(router));
    server_->start();
  }
  Answer get(const std::string& path) {
    http::Client client(server_->port());
    client.send(http::get(path));
    return client.read_answer();
  }
  std::unique_ptr<http::Server> server_;
};

// All that a file names in quotes of ours, as browsers resolve it.
std::set<std::string> named_in(const std::string& text) {
  std::set<std::string> paths;
  const std::regex absolute(R"rx("(/page/[^"]+)")rx"), relative(R"rx(from "\./([^"]+)")rx");
  for (std::sregex_iterator at(text.begin(), text.end(), absolute), end; at != end; ++at) {
    paths.insert((*at)[1]);
  }
  for (std::sregex_iterator at(text.begin(), text.end(), relative), end; at != end; ++at) {
    paths.insert("/page/" + (*at)[1].str());
  }
  return paths;
}

TEST_F(PageTest, IsWholeAndLoadsNothingFromElsewhere) {
  const std::regex elsewhere(
      R"((src|href)="(?!/page/|/openapi\.json")|(import|from) "(?!\./)|url\(|@import)");
  std::set<std::string> wanted = {"/"}, seen;
  while (!wanted.empty()) {
    const std::string path = *wanted.begin();
    wanted.erase(path);
    seen.insert(path);
    const Answer answer = get(path);
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_FALSE(answer.body.empty()) << path;
    EXPECT_FALSE(std::regex_search(answer.body, elsewhere)) << path;
    for (const std::string& name : named_in(answer.body)) {
      if (!seen.contains(name)) wanted.insert(name);
    }
  }
  EXPECT_EQ(seen.size(), 9u);
  EXPECT_EQ(get("/page/none.js").status, 404);
}

TEST_F(PageTest, TypesAreSaidAndNotGuessed) {
  EXPECT_EQ(get("/").headers["Content-Type"], "text/html; charset=utf-8");
  EXPECT_EQ(get("/page/style.css").headers["Content-Type"], "text/css; charset=utf-8");
  EXPECT_EQ(get("/page/main.js").headers["Content-Type"], "text/javascript; charset=utf-8");
  EXPECT_EQ(get("/page/icon.svg").headers["Content-Type"], "image/svg+xml");
  EXPECT_EQ(get("/page/main.js").headers["X-Content-Type-Options"], "nosniff");
}

TEST_F(PageTest, NothingMayRunThatIsNotItsOwn) {
  for (const char* path : {"/", "/page/main.js", "/page/icon.svg"}) {
    const Answer answer = get(path);
    const std::string policy(answer.headers["Content-Security-Policy"]);
    EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'self';")) << policy;
    EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos);
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    EXPECT_EQ(answer.headers["Referrer-Policy"], "no-referrer");
  }
  // What would break under that policy, and how a model's text could become markup.
  const std::string html = get("/").body;
  EXPECT_FALSE(std::regex_search(html, std::regex(R"(\son[a-z]+=|style=|<script(?![^>]*src=))")));
  for (const char* script : {"main", "api", "tree", "states", "writing", "picture"}) {
    const std::string text = get("/page/" + std::string(script) + ".js").body;
    EXPECT_FALSE(std::regex_search(
        text, std::regex(R"(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\()")))
        << script;
  }
}

}  // namespace
}  // namespace anser
