// Strings of patterns, formats and lengths, and of several of these at once.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "grammar/compile_budget.h"
#include "grammar/constraints.h"
#include "grammar/json_rules.h"
#include "grammar/random_texts.h"
#include "grammar/string_rules.h"
#include "support/errors.h"
#include "text/utf8.h"

namespace anser {
namespace {

using namespace support;
using Json = nlohmann::json;

struct Case {
  std::string schema;
  std::vector<std::string> accepted, refused;  // without quotes
};

void expect_cases(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    const auto constraint = byte_constraint(one.schema);
    for (const std::string& text : one.accepted) {
      EXPECT_TRUE(accepts(constraint, Json(text).dump())) << one.schema << "\n" << text;
    }
    for (const std::string& text : one.refused) {
      EXPECT_FALSE(accepts(constraint, Json(text).dump())) << one.schema << "\n" << text;
    }
  }
}

std::string pattern_schema(const std::string& pattern, const std::string& more = "") {
  return R"({"type":"string","pattern":)" + Json(pattern).dump() + more + "}";
}

TEST(Strings, PatternsHaveAnchorsAnywhere) {
  expect_cases({
      {pattern_schema("(^a$)|(^b+$)"), {"a", "bb"}, {"", "ab", "xa", "bx"}},
      {pattern_schema("^([^,]+(,|$)){2,}$"), {"a,b", "a,b,", "aa,bb,c"}, {"a", ",", "a,,b"}},
      {pattern_schema("^([^,]|$)"), {"", "a", "a,"}, {",", ",a"}},
      {pattern_schema("(^Hpt_|_Armour_)"), {"Hpt_", "x_Armour_y", "_Armour_"}, {"xHpt_", "Armour"}},
      {pattern_schema("^$|^x"), {"", "xy"}, {"y"}},
  });
  expect_error({"no text"}, [] { byte_constraint(pattern_schema("a$b")); });
}

TEST(Strings, PatternsLookAhead) {
  expect_cases({
      {pattern_schema("^(?!a)[a-c]+$"), {"b", "ba", "cab"}, {"a", "ab", ""}},
      {pattern_schema("^(?=.*[0-9])(?=.*[a-z])[a-z0-9]{3,}$"),
       {"a1b", "11a", "abc9"},
       {"abc", "123", "a1"}},
      {pattern_schema("^((?!ab).)*$"), {"", "ba", "a", "acb"}, {"ab", "cabd"}},
      {pattern_schema("^(?!.*--)[a-z-]+$"), {"a-b", "a", "-a-"}, {"a--b", "--"}},
      {pattern_schema("(?=b)[a-c]c"), {"bc", "xbcx"}, {"ac", "cc"}},
      {pattern_schema("^(?!(?!a)).$"), {"a"}, {"b", ""}},
      // As Pydantic writes Decimal, and Zod mail and durations.
      {pattern_schema(R"x(^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$)x"),
       {"1", "-1.5", "+.5", "007."},
       {"", "-", ".", "+.", "1.2.3", "x"}},
      {pattern_schema(R"x(^(?!^[-+.]*$)[+-]?0*(?:\d{0,3}|(?=[\d.]{1,6}0*$)\d{0,3}\.\d{0,2}0*$))x"),
       {"1", "123", "-123.45", "000123.4500"},
       {"", ".", "-"}},
      {pattern_schema(
           R"x(^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$)x"),
       {"a@b.de", "a.b@c-d.example.com"},
       {".a@b.de", "a..b@c.de", "a.@b.de", "a@b"}},
      {pattern_schema(
           R"x(^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$)x"),
       {"P1W", "P1Y2M", "PT5S", "P1DT2H"},
       {"P", "PT", "P1YT", "P1Y1W"}},
  });
}

TEST(Strings, PatternsNameWhatTheyDoNotSupport) {
  const std::pair<const char*, const char*> kCases[] = {
      {"(?<=a)b", "(?<="}, {"(?<!a)b", "(?<!"},      {"(?i)a", "(?i"},  {R"(\ba)", "\\b"},
      {R"((a)\1)", "\\1"}, {"(?=a)*", "repetition"}, {"a{,3}", "{,n}"}, {R"(\p{Han})", "\\p{Han}"}};
  for (const auto& [pattern, word] : kCases) {
    expect_error({"pattern", word}, [&, text = pattern] { byte_constraint(pattern_schema(text)); });
  }
}

TEST(Strings, PatternsAreReadAsMostDialectsDo) {
  expect_cases({
      // Braces that repeat nothing, names of groups, categories.
      {pattern_schema("^/{env}/x{2}{$"), {"/{env}/xx{"}, {"/env/xx{"}},
      {pattern_schema("^(?<year>[0-9]{4})-(?P<month>[0-9]{2})$"), {"2024-01"}, {"2024"}},
      {pattern_schema(R"(^\p{Lu}\p{L}+$)"), {"Abc", "\xc3\x84hm"}, {"abc", "A1"}},
      // What is a digit, a letter or a space in some dialect only is written nowhere.
      {pattern_schema(R"(^\d$)"), {"1"}, {"\xd9\xa1"}},
      {pattern_schema(R"(^\D$)"), {"a", "\xc3\xa4"}, {"1", "\xd9\xa1"}},
      {pattern_schema(R"(^[^\d]$)"), {"a", "\xc3\xa4"}, {"1", "\xd9\xa1"}},
      {pattern_schema(R"(^\W$)"), {"-", "\xe2\x82\xac"}, {"a", "\xc3\xa4"}},
      {pattern_schema(R"(^\S$)"), {"a"}, {"\xef\xbb\xbf", "\x1f", " "}},
      {pattern_schema(R"(^(?!\d).$)"), {"a"}, {"1", "\xd9\xa1"}},
  });
}

TEST(Strings, PatternsHaveLengths) {
  expect_cases({
      {pattern_schema("^[a-z]+$", R"(,"maxLength":5)"), {"a", "abcde"}, {"", "abcdef"}},
      {pattern_schema("^[a-z]+$", R"(,"minLength":3)"), {"abc", "abcdefgh"}, {"ab"}},
      {pattern_schema("b", R"(,"minLength":2,"maxLength":3)"), {"ab", "bxx"}, {"b", "aaa", "abcd"}},
      {pattern_schema("^(ab)*$", R"(,"minLength":3,"maxLength":5)"), {"abab"}, {"ab", "ababab"}},
      {pattern_schema("^[a-z]{2,8}$", R"(,"minLength":1,"maxLength":255)"), {"ab"}, {"a"}},
      {pattern_schema(R"(^\S(.*\S)?$)", R"(,"minLength":2,"maxLength":2000)"),
       {"ab", "a b", std::string(2000, 'x')},
       {"a", "a ", " a", std::string(2001, 'x'), std::string(1999, 'x') + " "}},
      {pattern_schema("^a{3}b*c{4}$", R"(,"maxLength":100)"),
       {"aaacccc", "aaa" + std::string(93, 'b') + "cccc"},
       {"aaa" + std::string(94, 'b') + "cccc", "aaaccc"}},
      // Also where the pattern says so itself, as Zod's of host names.
      {pattern_schema(
           R"x(^(?=.{1,253}\.?$)[a-z](?:[a-z-]{0,61}[a-z])?(?:\.[a-z](?:[-a-z]{0,61}[a-z])?)*$)x"),
       {"a", "a.b-c.d"},
       {"", "a..b", std::string(60, 'a') + std::string(100, '.') + std::string(200, 'b')}},
      {pattern_schema(R"x(^(?=.{3,5}$)(?=[a-c]{2,4}$)\D+$)x"),
       {"abc", "aaaa"},
       {"ab", "abcab", "abd"}},
  });
}

// Wherever one is, there is a way to the end that fits.
TEST(Strings, ALengthNeverLeadsIntoADeadEnd) {
  for (const std::string& schema :
       {pattern_schema("^a{3}b*c{4}$", R"(,"minLength":9,"maxLength":100)"),
        pattern_schema("^(ab|cde)*$", R"(,"minLength":50,"maxLength":90)"),
        pattern_schema("^(aaa)*$", R"(,"minLength":7,"maxLength":9)"),
        pattern_schema("^[a-z]+@[a-z]+[.]com$", R"(,"minLength":20,"maxLength":300)"),
        std::string(R"({"type":"string","format":"email","maxLength":30})"),
        std::string(R"({"type":"string","format":"uri","minLength":1,"maxLength":2083})")}) {
    const auto constraint = byte_constraint(schema);
    const Json parsed = Json::parse(schema);
    for_random_texts(
        constraint, 60,
        [&](const std::string& text) {
          const size_t length = code_points(Json::parse(text).get<std::string>()).size();
          EXPECT_GE(length, parsed.value("minLength", size_t{0})) << schema << text;
          EXPECT_LE(length, parsed["maxLength"].get<size_t>()) << schema << text;
        },
        3000);
    // Also where letters come as long as they may.
    ConstraintMatcher matcher(constraint);
    std::mt19937 random(7);
    for (int i = 0; i < 3000 && matcher.open(); ++i) {
      const auto allowed = matcher.allowed();
      std::vector<char> bytes;
      for (int byte = 33; byte < 127; ++byte) {
        if (byte != '"' && byte != '\\' && allowed[size_t(byte) / 64] >> byte % 64 & 1) {
          bytes.push_back(char(byte));
        }
      }
      const char byte = i == 0 || bytes.empty() ? '"' : bytes[random() % bytes.size()];
      ASSERT_TRUE(matcher.accept({&byte, 1})) << schema << " after " << i;
    }
    EXPECT_TRUE(matcher.complete()) << schema;
  }
}

TEST(Strings, SeveralPatternsAndFormatsMustAllHold) {
  expect_cases({
      {R"({"allOf":[{"pattern":"^[a-z]+$"},{"pattern":"x"},{"type":"string"}]})",
       {"x", "axb"},
       {"a", "X", "x1"}},
      {R"({"type":"string","pattern":"^2","allOf":[{"pattern":"5$"},{"pattern":"3"}]})",
       {"235", "2335"},
       {"25", "35", "23"}},
      {R"({"type":"string","format":"uuid","pattern":"^[0-9a-f-]{14}4"})",
       {"01234567-89ab-4def-8123-456789abcdef"},
       {"01234567-89ab-1def-8123-456789abcdef", "01234567-89AB-4def-8123-456789abcdef"}},
      {R"({"type":"string","format":"email","pattern":"@example[.]com$"})",
       {"a@example.com"},
       {"a@example.org", "@example.com"}},
      {R"({"$defs":{"d":{"type":"string","format":"date"}},"$ref":"#/$defs/d","pattern":"^2024-"})",
       {"2024-02-29"},
       {"2023-01-01", "2024-"}},
      {R"({"type":"string","format":"date","pattern":"^\\d{4}-\\d{2}-\\d{2}$","maxLength":10})",
       {"2023-12-31"},
       {"2023-13-31"}},
      {R"({"type":"string","allOf":[{"format":"hostname"},{"format":"nobody-knows"}],"maxLength":5})",
       {"a.b", "host"},
       {"a..b", "longer"}},
      {R"({"type":"string","allOf":[{"minLength":2},{"minLength":3},{"maxLength":4}]})",
       {"abc", "abcd"},
       {"ab", "abcde"}},
  });
  // Zod's times have no offset, which the format asks for; then its pattern is followed.
  expect_cases({
      {R"({"type":"string","format":"time",
           "pattern":"^(?:[01]\\d|2[0-3]):[0-5]\\d(?::[0-5]\\d(?:\\.\\d+)?)?$"})",
       {"12:30", "12:30:59.5"},
       {"12:30Z", "25:00"}},
      {R"({"type":"string","format":"email","pattern":"@localhost$"})",
       {"a@localhost"},
       {"@localhost"}},
      {R"({"type":"string","pattern":"^(\\p{Extended_Pictographic}|\\p{Emoji_Component})+$"})",
       {"\xf0\x9f\x98\x80"},
       {"a", ""}},
  });
  expect_error({"no text"}, [] {
    byte_constraint(R"({"type":"string","format":"time","pattern":"^.{2,8}$"})");
  });
  // What no text can be is seen at once.
  expect_error({"no text"}, [] {
    byte_constraint(R"({"type":"string","format":"date","pattern":"^[a-z]+$"})");
  });
  expect_error({"no text"},
               [] { byte_constraint(R"({"type":"string","format":"uuid","maxLength":10})"); });
}

// From here on: checks of formats that share nothing with src/grammar.
bool matches(const std::string& text, const char* pattern) {
  return std::regex_match(text, std::regex(pattern));
}

bool is_date(const std::string& text) {
  if (!matches(text, "[0-9]{4}-[0-9]{2}-[0-9]{2}")) return false;
  const std::chrono::year_month_day day{std::chrono::year(std::stoi(text.substr(0, 4))),
                                        std::chrono::month(unsigned(std::stoi(text.substr(5, 2)))),
                                        std::chrono::day(unsigned(std::stoi(text.substr(8, 2))))};
  return day.ok() && text.substr(0, 4) != "0000";
}
bool is_time(const std::string& text) {
  std::smatch found;
  const std::regex form(
      "([0-9]{2}):([0-9]{2}):([0-9]{2})([.][0-9]+)?(Z|[+-]([0-9]{2}):([0-9]{2}))");
  if (!std::regex_match(text, found, form)) return false;
  const auto below = [&](size_t group, int limit) {
    return found[group].length() == 0 || std::stoi(found[group].str()) < limit;
  };
  return below(1, 24) && below(2, 60) && below(3, 60) && below(6, 24) && below(7, 60);
}
bool is_ip(int family, const std::string& text) {
  unsigned char bytes[16];
  return inet_pton(family, text.c_str(), bytes) == 1;
}
bool is_hostname(const std::string& text) {
  return text.size() <= 253 &&
         matches(text,
                 "([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])*[A-Za-z]([A-Za-z0-9-]{0,61}"
                 "[A-Za-z0-9])?");
}
bool is_email(const std::string& text) {
  const size_t at = text.find('@');
  return at != std::string::npos && at >= 1 && at <= 64 && text.size() <= 254 &&
         text.substr(0, at).find("..") == std::string::npos && text[0] != '.' &&
         text[at - 1] != '.' && is_hostname(text.substr(at + 1)) &&
         text.find('.', at) != std::string::npos &&
         !matches(text, ".*[.](arpa|invalid|local|localhost|onion|test)");
}
bool is_reference(const std::string& text) {
  return matches(text, "([A-Za-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*") &&
         std::ranges::count(text, '#') <= 1;
}
bool is_uri(const std::string& text) {
  return is_reference(text) && matches(text, "[a-z][a-z0-9+.-]*:.+") &&
         (!matches(text, "(https?|wss?|ftp):.*") || matches(text, "[a-z]+://[^/?#]+.*"));
}
bool is_pointer(const std::string& text) {
  try {
    (void)Json::json_pointer(text);
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}
bool is_regex(const std::string& text) {
  try {
    std::regex compiled(text);
    return true;
  } catch (const std::regex_error&) {
    return false;
  }
}
bool is_base64(const std::string& text, const std::string& last) {
  const size_t end = std::min(text.find('='), text.size());
  return text.size() % 4 == 0 && text.size() - end <= 2 &&
         text.find_first_not_of("=", end) == std::string::npos &&
         std::all_of(text.begin(), text.begin() + ptrdiff_t(end), [&](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) || last.find(c) != std::string::npos;
         });
}

struct Format {
  const char* name;
  std::function<bool(const std::string&)> is_right;
  std::vector<std::string> accepted, refused;
};

std::vector<Format> formats() {
  using S = const std::string&;
  return {
      {"date",
       is_date,
       {"2024-02-29", "2000-02-29", "0001-01-01"},
       {"2023-02-29", "1900-02-29", "0000-01-01", "2024-06-31"}},
      {"time",
       is_time,
       {"23:59:59Z", "00:00:00.123456+01:30"},
       {"24:00:00Z", "12:00:00", "12:00Z"}},
      {"date-time",
       [](S text) {
         return is_date(text.substr(0, 10)) && text[10] == 'T' && is_time(text.substr(11));
       },
       {"2024-02-29T12:00:00Z"},
       {"2024-02-29 12:00:00Z", "2023-02-29T12:00:00Z"}},
      {"duration",
       [](S text) {
         return matches(text,
                        "P(?!$)([0-9]+Y)?([0-9]+M)?([0-9]+D)?(T(?=[0-9])([0-9]+H)?([0-9]+M)?"
                        "([0-9]+S)?)?|P[0-9]+W");
       },
       {"P3Y6M4DT12H30M5S", "P4W", "PT5M", "P1D"},
       {"P", "PT", "P1S", "P1DT", "3D", "P1Y1D", "PT1H5S"}},
      {"uuid",
       [](S text) { return matches(text, "[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"); },
       {"01234567-89ab-cdef-0123-456789ABCDEF"},
       {"0123456789abcdef0123456789abcdef"}},
      {"uuid4",
       [](S text) { return text[14] == '4' && text.size() == 36; },
       {"01234567-89ab-4def-8123-456789abcdef"},
       {"01234567-89ab-1def-8123-456789abcdef"}},
      {"ipv4",
       [](S text) { return is_ip(AF_INET, text); },
       {"0.0.0.0", "192.168.1.255"},
       {"1.2.3", "1.2.3.256", "01.2.3.4"}},
      {"ipv6",
       [](S text) { return is_ip(AF_INET6, text); },
       {"::", "::1", "1::", "fe80::1:2", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:7::"},
       {"1:2", ":::", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::"}},
      {"hostname",
       is_hostname,
       {"localhost", "www.example.com", "a-b.c1"},
       {"", "-a", "a-", "a..b", "a_b", "1.2.3.4"}},
      {"email",
       is_email,
       {"jane.doe+tag@mail.example.com", "a@b.de"},
       {"a", "@b.de", "a@b", "a..b@c.de", "a@b..de", "a@b.test", "a b@c.de"}},
      {"uri",
       is_uri,
       {"https://example.com", "http://user:pw@host.example:8080/a/b?c=d#e", "urn:isbn:123",
        "mailto:a@b.de", "postgres://db.local:5432/x", "file:///etc/hosts", "ws://1.2.3.4/x",
        "https://a.b/%20"},
       {"example.com", "http:", "http://", "https:///x", "http://a b", "http://a:99999", "x",
        "http://a/%2"}},
      {"uri-reference",
       is_reference,
       {"a/b", "/a", "#x", "?q", "https://a.b/c"},
       {"a b", "%", "//"}},
      {"json-pointer", is_pointer, {"", "/a~1b/~0/0"}, {"a", "/~2", "/~"}},
      {"relative-json-pointer",
       [](S text) {
         const size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
         return end > 0 && (text.substr(end) == "#" || is_pointer(text.substr(end)));
       },
       {"0", "1/a", "2#"},
       {"/a", "01"}},
      {"regex", is_regex, {"^[a-z]+(ab|c)?$", "\\d{3}"}, {"(", "[", "a**", "*a", "a)"}},
      {"byte",
       [](S text) { return is_base64(text, "+/"); },
       {"", "QUJD", "QQ==", "+/8="},
       {"QUI", "Q===", "Q?=="}},
      {"base64url",
       [](S text) { return is_base64(text, "-_"); },
       {"QUJD", "QQ=="},
       {"QUI", "+A=="}},
      {"json-string",
       [](S text) { return Json::accept(text); },
       {"{}", R"({"a": [1, "x", null]})", "-1.5", R"("\n")"},
       {"", "{", "[1,]", "a", "01"}},
      {"color",
       [](S text) { return matches(text, "#[0-9A-Fa-f]{3}|#[0-9A-Fa-f]{6}|[a-z]+"); },
       {"#fff", "#00FF7f", "red"},
       {"#12", "reddish"}},
  };
}

TEST(Strings, FormatsAreThoseOfTheirStandards) {
  for (const Format& format : formats()) {
    SCOPED_TRACE(format.name);
    const std::string schema = R"({"type":"string","format":")" + std::string(format.name) + "\"}";
    expect_cases({{schema, format.accepted, format.refused}});
    for_random_texts(byte_constraint(schema), 40, [&](const std::string& text) {
      EXPECT_TRUE(format.is_right(Json::parse(text).get<std::string>())) << text;
    });
  }
}

TEST(Strings, ContentIsReadable) {
  const std::string json = R"({"type":"string","contentMediaType":"application/json"})";
  expect_cases({{json, {R"({"a":1})"}, {"x"}},
                {R"({"type":"string","contentEncoding":"base64"})", {"QQ=="}, {"Q"}},
                {R"({"type":"string","contentEncoding":"quoted-printable"})", {"Q"}, {}},
                {R"({"type":"string","contentMediaType":"text/html"})", {"<p>"}, {}}});
  for_random_texts(byte_constraint(json), 100, [&](const std::string& text) {
    EXPECT_TRUE(Json::accept(Json::parse(text).get<std::string>())) << text;
  });
  // Of texts, where what is inside is to be read.
  for_random_texts(byte_constraint(R"({"type":"string","format":"base64"})"), 200,
                   [&](const std::string& text) {
                     EXPECT_TRUE(is_base64(Json::parse(text).get<std::string>(), "+/")) << text;
                   });
}

TEST(Strings, AFormatThatNobodyKnowsSaysNothing) {
  for (const char* name : {"binary", "password", "path", "nobody-knows", "int32"}) {
    const std::string schema = R"({"type":"string","format":")" + std::string(name) + "\"}";
    expect_cases({{schema, {"", "anything"}, {}}});
  }
}

TEST(Strings, AreComparedWithTheirLimits) {
  CompileBudget budget;
  GrammarBuilder builder(budget);
  JsonRules json(builder);
  StringRules strings(builder, json);
  const auto satisfies = [&](const char* schema, const char* text) {
    return strings.satisfies(string_limits(Schema::parse(schema), "#"), text, "here");
  };
  EXPECT_TRUE(satisfies(R"({"pattern":"^a+$","maxLength":3})", "aaa"));
  EXPECT_FALSE(satisfies(R"({"pattern":"^a+$","maxLength":3})", "aaaa"));
  EXPECT_FALSE(satisfies(R"({"pattern":"^a+$","minLength":2})", "a"));
  EXPECT_TRUE(satisfies(R"({"minLength":2})", "\xc3\xa4\xf0\x9f\xa6\x86"));
  EXPECT_FALSE(satisfies(R"({"minLength":3})", "\xc3\xa4\xf0\x9f\xa6\x86"));
  EXPECT_TRUE(satisfies(R"({"format":"date","pattern":"^2"})", "2024-02-29"));
  EXPECT_FALSE(satisfies(R"({"format":"date","pattern":"^2"})", "2023-02-29"));
  EXPECT_TRUE(satisfies(R"({"format":"nobody-knows"})", "x"));
}

// What takes too long to be made one is refused, whatever it is.
TEST(Strings, WhatIsTooLargeTogetherIsRefusedByName) {
  for (const std::string& schema :
       {pattern_schema("^(a|b)*a(a|b){200}$", R"(,"maxLength":1000)"),
        pattern_schema("^(?!.*x)(a|b)*a(a|b){200}$"),
        pattern_schema("^(a|b)*a(a|b){200}$", R"(,"format":"hostname")"),
        pattern_schema("^[a-z]{3}", R"(,"minLength":900000000)")}) {
    expect_error({"large"}, [&] { byte_constraint(schema); });
  }
}

}  // namespace
}  // namespace anser
