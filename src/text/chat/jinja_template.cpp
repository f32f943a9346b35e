#include "text/chat/jinja_template.h"

namespace anser {
namespace {

constexpr const char* kChat =
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- set text = message['content'] or '' -%}"
    "{%- set name = 'User' -%}"
    "{%- if message['role'] == 'system' -%}"
    "{%- set name = 'System' -%}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{%- set name = 'Assistant' -%}"
    "{%- set text = text.split('</think>')[-1] -%}"
    "{%- endif -%}"
    "{{- name + ': ' + (text | trim) + '\\n\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- 'Assistant:' -}}"
    "{%- if enable_thinking is defined -%}"
    "{{- ' <think>' if enable_thinking else ' <think>\\n</think>' -}}"
    "{%- endif -%}"
    "{%- endif -%}";

constexpr const char* kFlower =
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- set text = message['content'] or '' -%}"
    "{%- set name = 'User' -%}"
    "{%- if message['role'] == 'system' -%}"
    "{%- set name = 'System' -%}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{%- set name = 'Bot' -%}"
    "{%- set text = text.split('</think>')[-1] -%}"
    "{%- endif -%}"
    "{{- name + '\u273f' + (text | trim) + '\u273f\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- 'Bot\u273f<think' -}}"
    "{%- if enable_thinking is defined and not enable_thinking -%}"
    "{{- '></think' -}}"
    "{%- endif -%}"
    "{%- endif -%}";

}  // namespace

const char* jinja_template(const ChatTemplate& form) {
  return form.tools == ToolFormat::markdown ? kFlower : kChat;
}

}  // namespace anser
