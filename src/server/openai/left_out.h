// What a request holds that nothing here can make use of and that may be left out all the same:
// tools of the provider's own servers, and what such tools have left in a conversation. Agents send
// them beside what they need. They are left out with a word in the server's log, which holds
// nothing that a client has sent: only kinds that OpenAI's API has are named.
#pragma once

#include <string>
#include <vector>

namespace anser::openai {

// "tools of type web_search", each once.
using LeftOut = std::vector<std::string>;

void leave_out_tool(const std::string& type, LeftOut& left_out);
void leave_out_item(const std::string& type, LeftOut& left_out);

}  // namespace anser::openai
