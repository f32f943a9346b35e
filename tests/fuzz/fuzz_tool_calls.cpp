// JSON that stands in texts: the arguments of calls that a client says were made, and what a model
// writes as a call. Whatever it is, it is read or is none, and costs what its bytes do.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "cost.h"
#include "server/openai/call_reader.h"
#include "server/openai/chat_prompt.h"
#include "server/openai/response_request.h"
#include "server/openai/tool_text.h"
#include "text/chat/builtin_templates.h"

namespace {

using namespace anser;
using namespace anser::openai;

const Limits kLimits = [] {
  Limits limits;
  limits.max_tokens = 100;
  limits.max_prompt_tokens = 1 << 22;
  limits.max_n = 4;
  limits.vocab = 256;
  return limits;
}();

std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A conversation in which a call was made with these arguments, and gave them back.
std::string chat_body(const std::string& arguments) {
  const std::string text = quoted(arguments);
  return R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","tool_calls":)"
         R"([{"id":"c","type":"function","function":{"name":"f","arguments":)" +
         text + R"(}}]},{"role":"tool","tool_call_id":"c","content":)" + text + "}]}";
}

std::string response_body(const std::string& arguments) {
  const std::string text = quoted(arguments);
  return R"({"input":[{"type":"function_call","call_id":"c","name":"f","arguments":)" + text +
         R"(},{"type":"function_call_output","call_id":"c","output":)" + text + "}]}";
}

void render(const ChatRequest& request) {
  for (const char* form : {"think", "flower", "markdown"}) {
    const ChatPrompt prompt =
        render_chat(request, form_for(builtin_template(form), request), false);
    ANSER_CHECK(prompt.text.ends_with(prompt.opening));
  }
}

void converse(const std::string& arguments) {
  try {
    render(read_chat_request(Fields(parse_body(chat_body(arguments))), kLimits));
  } catch (const ApiError& error) {
    ANSER_CHECK(error.status() == 400);
  }
  try {
    render(read_response_request(Fields(parse_body(response_body(arguments))), kLimits));
  } catch (const ApiError& error) {
    ANSER_CHECK(error.status() == 400);
  }
}

// An answer, of which a call is read as soon as it may be one.
void answer(const std::string& text) {
  const std::vector<Tool> tools = {{"f", "", Json()}, {"g", "", Json::object()}};
  for (const std::string_view mark : {kCallHeading, kCallTag, kCallFence}) {
    for (const std::string& written :
         {std::string(mark) + text, std::string(mark) + R"({"name":"f","arguments":)" + text + "}",
          std::string(mark) + R"({"name":"f","arguments":)" + quoted(text) + "}"}) {
      const ReadCall call = read_call(written, mark, tools, true);
      ANSER_CHECK(call.verdict != ReadCall::Verdict::undecided);
      if (call.verdict != ReadCall::Verdict::call) continue;
      ANSER_CHECK(call.size <= written.size());
      ANSER_CHECK(call.name == "f" || call.name == "g");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto read = [](const std::string& all) {
    converse(all);
    answer(all);
  };
  // Twenty readings, some of them of what was written out anew.
  fuzz::bound_cost(
      "a call", size, [&] { read(text); }, 10);
  if (fuzz::grows(data, size)) {
    // Read so often, a quarter of the usual size says as much.
    for (const std::string& many :
         {fuzz::repeated(text, fuzz::kGrown / 4), fuzz::with_keys(text, fuzz::kGrown / 4)}) {
      fuzz::bound_cost(
          "many", many.size(), [&] { read(many); }, 10);
    }
  }
  return 0;
}
