// Each is held to what RFCs, checkers of JSON Schema and Pydantic have in common.
#include "grammar/string_formats.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

namespace anser {
namespace {

std::string whole(const std::string& inside) {
  return "^(" + inside + ")$";
}

// RFC 3339, with the 29th of February in leap years only. There is no year 0.
std::string date() {
  const std::string year = "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)";
  const std::string fourth = "(0[48]|[2468][048]|[13579][26])";
  return "(" + year +
         "-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
         "02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{2}" +
         fourth + "|" + fourth + "00)-02-29)";
}
std::string time() {
  return "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?"
         "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
}

// RFC 3339, appendix A: nothing is left out between two parts.
std::string duration() {
  const std::string n = "[0-9]{1,4}";
  const std::string seconds = n + "S", minutes = n + "M(" + seconds + ")?";
  const std::string hours = n + "H(" + minutes + ")?";
  const std::string clock = "T(" + hours + "|" + minutes + "|" + seconds + ")";
  const std::string days = n + "D", months = n + "M(" + days + ")?";
  const std::string years = n + "Y(" + months + ")?";
  const std::string calendar = "(" + years + "|" + months + "|" + days + ")";
  return "P(" + calendar + "(" + clock + ")?|" + clock + "|" + n + "W)";
}

// Of a version, or of any.
std::string uuid(const std::string& version) {
  const std::string variant = version.empty() ? "[0-9A-Fa-f]" : "[89ABab]";
  return "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-" + (version.empty() ? "[0-9A-Fa-f]" : version) +
         "[0-9A-Fa-f]{3}-" + variant + "[0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}";
}

const std::string kOctet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
std::string ipv4() {
  return "(" + kOctet + "\\.){3}" + kOctet;
}
// Eight groups, or fewer around a "::"; or IPv4 in the mapped form.
std::string ipv6() {
  const std::string group = "[0-9A-Fa-f]{1,4}";
  std::string all = "(" + group + ":){7}" + group + "|(" + group + ":){1,7}:|:(:" + group +
                    "){1,7}|::|::[Ff]{4}:" + ipv4();
  for (int before = 1; before <= 6; ++before) {
    all += "|(" + group + ":){" + std::to_string(before) + "}(:" + group + "){1," +
           std::to_string(7 - before) + "}";
  }
  return "(" + all + ")";
}
std::string ipv4_network() {
  return kOctet + "\\.(0\\.0\\.0/8|" + kOctet + "\\.(0\\.0/16|" + kOctet + "\\.(0/24|" + kOctet +
         "(/32)?)))";
}

// Labels of at most 61 characters, without two hyphens in a row, so that none is taken for an
// encoded one ("xn--"). The last one begins with a letter, so that no host is taken for a number.
std::string label(const std::string& letters) {
  return "[" + letters + "0-9](-?[" + letters + "0-9]){0,30}";
}
std::string hostname(const std::string& letters) {
  return "(" + label(letters) + "\\.)*[" + letters + "](-?[" + letters + "0-9]){0,30}";
}

// Words of a-z, in which behind the first letter `others` may stand, too; none of `taken`, and as
// long as `shortest` or longer. `begun`: what all of them begin with.
std::string other_words(const std::vector<std::string>& taken, const std::string& others,
                        size_t shortest, const std::string& begun = "") {
  const auto is_begun = [&](const std::string& more) {
    return std::ranges::any_of(taken, [&](const auto& one) { return one.starts_with(more); });
  };
  const std::string rest = "[a-z" + others + "]{0,20}";
  std::string apart, all;
  for (char c = 'a'; c <= 'z'; ++c) {
    if (!is_begun(begun + c)) {
      apart += c;
      continue;
    }
    all += std::string("|") + c + other_words(taken, others, shortest, begun + c);
  }
  const std::string tail = begun.size() + 1 >= shortest ? rest : "[a-z" + others + "]" + rest;
  all = "[" + apart + (begun.empty() ? "" : others) + "]" + tail + all;
  const bool may_end = begun.size() >= shortest && std::ranges::find(taken, begun) == taken.end();
  return "(" + all + ")" + (may_end ? "?" : "");
}

// Of names that can be delivered to: with a dot, and a last label that is not set aside (RFC 6761).
std::string email() {
  const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]";
  return atom + "(\\.?" + atom + "){0,31}@(" + label("A-Za-z") + "\\.)+" +
         other_words({"arpa", "invalid", "local", "localhost", "onion", "test"}, "", 2);
}

// RFC 3986. `more`: what is allowed beyond ASCII (RFC 3987).
struct UriParts {
  std::string character, path, authority, tail;
};
UriParts uri_parts(const std::string& more) {
  const std::string percent = "%[0-9A-Fa-f]{2}";
  const std::string character = "([A-Za-z0-9._~!$&'()*+,;=:@" + more + "-]|" + percent + ")";
  const std::string user = "([A-Za-z0-9._~!$&'()*+,;=-]|" + percent + ")+";
  const std::string host = "([A-Za-z0-9]+(-[A-Za-z0-9]+)*\\.)*[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*";
  const std::string port =
      "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
  const std::string rest = "([A-Za-z0-9._~!$&'()*+,;=:@/?" + more + "-]|" + percent + ")*";
  return {character, "(/" + character + "*)*",
          "(" + user + "(:" + user + ")?@)?(" + host + "|" + ipv4() + ")(:" + port + ")?",
          "(\\?" + rest + ")?(#" + rest + ")?"};
}
// With a host for those schemes that must have one, as readers of URLs have it.
std::string web_uri(const UriParts& parts, const std::string& scheme) {
  return scheme + "://" + parts.authority + parts.path + parts.tail;
}
std::string uri(const UriParts& parts) {
  const std::string known = "(https?|wss?|ftp)";
  return "(" + web_uri(parts, known) + "|file://(/" + parts.character + "*)+" + parts.tail + "|" +
         other_words({"http", "https", "ws", "wss", "ftp", "file"}, "0-9+.\\-", 1) + ":(//" +
         parts.authority + parts.path + "|" + parts.character + "+" + parts.path + ")" +
         parts.tail + ")";
}
std::string uri_reference(const UriParts& parts, const std::string& more) {
  const std::string first = "([A-Za-z0-9._~!$&'()*+,;=@" + more + "-]|%[0-9A-Fa-f]{2})+";
  const std::string some = parts.character + "*";
  return "(" + uri(parts) + "|(" + first + parts.path + "|/(" + parts.character + "+" + parts.path +
         ")?)" + parts.tail + "|\\?" + some + "(#" + some + ")?|#" + some + ")";
}
const std::string kBeyondAscii = "\\u00c0-\\u1fff\\u2c00-\\ud7ff";

std::string uri_template() {
  const std::string name = "[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*(\\*|:[1-9][0-9]{0,2})?";
  return "([A-Za-z0-9._~!$&()*+,;=:@/?#-]|\\{[+#./;?&]?" + name + "(," + name + ")*\\})*";
}

const std::string kPointer = "(/([^~/]|~[01])*)*";

// What every dialect reads alike: literals, classes, groups within which there are none, and
// repetitions.
std::string regex() {
  const std::string literal = "[A-Za-z0-9 _,:;@%&=~<>!'\"`/-]";
  const std::string escape = "\\\\[dDwWsS.^$*+?()\\[\\]{}|\\\\]";
  const std::string range = "(a-z|A-Z|0-9|[A-Za-z0-9_.,:;@ ]|\\\\[dws])";
  const std::string one = "(" + literal + "|" + escape + "|\\.|\\[\\^?" + range + "+\\])";
  const std::string often = "([*+?]|\\{[0-9]{1,2}(,)?\\})?";
  const std::string some = "(" + one + often + ")+";
  const std::string group = "\\((\\?:)?" + some + "(\\|" + some + ")*\\)";
  const std::string all = "((" + one + "|" + group + ")" + often + ")*";
  return "\\^?" + all + "(\\|" + all + ")*\\$?";
}

std::string base64(const std::string& last) {
  const std::string one = "[A-Za-z0-9" + last + "]";
  return "(" + one + "{4})*(" + one + "{2}==|" + one + "{3}=)?";
}
// Of texts in ASCII, since who decodes such a format wants to read what is in it. The first of four
// characters has six bits of a byte below 128, the second two of it and four of the next one.
std::string base64_text(const std::string& last) {
  const std::string first = "[A-Za-f]", second = "[A-HQ-Xg-nw-z0-3]",
                    third = "[ABEFIJMNQRUVYZcdghklopstwx014589]",
                    fourth = "[A-Za-z0-9" + last + "]";
  return "(" + first + second + third + fourth + ")*(" + first + "[AQgw]==|" + first + second +
         "[AEIMQUYcgkosw048]=)?";
}

// JSON in which lists and objects are nested twice at the most.
std::string json() {
  const std::string text = R"x("([^"\\\u0000-\u001f]|\\["\\/bfnrt])*")x";
  std::string value = "(" + text + "|-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,6})?|true|false|null)";
  for (int depth = 0; depth < 2; ++depth) {
    const std::string member = text + ": ?" + value;
    value = "(" + text + "|-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,6})?|true|false|null|\\[(" + value +
            "(, ?" + value + ")*)?\\]|\\{(" + member + "(, ?" + member + ")*)?\\})";
  }
  return value;
}

std::string color() {
  return "#[0-9A-Fa-f]{3}|#[0-9A-Fa-f]{6}|aqua|black|blue|fuchsia|gray|green|lime|maroon|navy|"
         "olive|orange|purple|red|silver|teal|white|yellow";
}

struct Named {
  std::string_view name;
  std::function<std::string()> inside;
  uint32_t most = kUnlimited;
  std::string_view wider = {};
};

constexpr std::string_view kWiderTime =
    "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-"
    "9])?";
constexpr std::string_view kWiderDateTime =
    "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]("
    "\\.[0-9]{1,9})?)?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?";
constexpr std::string_view kWiderEmail = "[^\\s@\"]+@[^\\s@\"]+";

std::optional<StringFormat> find(const auto& list, std::string_view name) {
  const auto found = std::ranges::find(list, name, &Named::name);
  if (found == std::end(list)) return std::nullopt;
  const std::string wider(found->wider);
  return StringFormat{whole(found->inside()), wider.empty() ? "" : whole(wider), found->most};
}

// Names and mail have their lengths from RFC 1035 and RFC 5321.
const Named kFormats[] = {
    {"date", date},
    {"time", time, kUnlimited, kWiderTime},
    {"date-time", [] { return date() + "T" + time(); }, kUnlimited, kWiderDateTime},
    {"duration", duration},
    {"uuid", [] { return uuid(""); }},
    {"uuid1", [] { return uuid("1"); }},
    {"uuid3", [] { return uuid("3"); }},
    {"uuid4", [] { return uuid("4"); }},
    {"uuid5", [] { return uuid("5"); }},
    {"uuid6", [] { return uuid("6"); }},
    {"uuid7", [] { return uuid("7"); }},
    {"uuid8", [] { return uuid("8"); }},
    {"ipv4", ipv4},
    {"ip-address", ipv4},
    {"ipv6", ipv6},
    {"ipvanyaddress", [] { return ipv4() + "|" + ipv6(); }},
    {"ipv4network", ipv4_network},
    {"ipv4interface", [] { return ipv4() + "(/([12]?[0-9]|3[0-2]))?"; }},
    {"ipv6network", [] { return ipv6() + "(/128)?"; }},
    {"ipv6interface", [] { return ipv6() + "(/([1-9]?[0-9]|1[01][0-9]|12[0-8]))?"; }},
    {"ipvanynetwork", [] { return ipv4_network() + "|" + ipv6() + "(/128)?"; }},
    {"hostname", [] { return hostname("A-Za-z"); }, 253},
    {"host-name", [] { return hostname("A-Za-z"); }, 253},
    {"idn-hostname", [] { return hostname("a-z"); }, 253},
    {"email", email, 254, kWiderEmail},
    {"idn-email", email, 254, kWiderEmail},
    {"name-email", email, 254},
    {"uri", [] { return uri(uri_parts("")); }},
    {"iri", [] { return uri(uri_parts(kBeyondAscii)); }},
    {"uri-reference", [] { return uri_reference(uri_parts(""), ""); }},
    {"iri-reference", [] { return uri_reference(uri_parts(kBeyondAscii), kBeyondAscii); }},
    {kWebUri, [] { return web_uri(uri_parts(""), "https?"); }},
    {"uri-template", uri_template},
    {"json-pointer", [] { return kPointer; }},
    // Python's checker takes a 0 within a number for one in front of it.
    {"relative-json-pointer", [] { return "(0|[1-9]{1,3}0?)(#|" + kPointer + ")"; }},
    {"regex", regex},
    {"color", color},
    {"json-string", json},
    {"byte", [] { return base64("+/"); }},
    {"base64", [] { return base64_text("+/"); }},
    {"base64url", [] { return base64_text("_\\-"); }},
};
const Named kEncodings[] = {{"base64", [] { return base64("+/"); }},
                            {"base64url", [] { return base64("_\\-"); }}};
const Named kMediaTypes[] = {{"application/json", json}};

}  // namespace

std::optional<StringFormat> string_format(std::string_view name) {
  return find(kFormats, name);
}

std::optional<StringFormat> content_encoding(std::string_view name) {
  return find(kEncodings, name);
}

std::optional<StringFormat> content_media_type(std::string_view name) {
  return find(kMediaTypes, name);
}

}  // namespace anser
