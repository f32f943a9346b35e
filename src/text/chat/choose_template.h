// Which form a model's conversations have, by what its files say.
#pragma once

#include <string>

#include "anser/chat_clues.h"
#include "text/chat/chat_template.h"

namespace anser {

struct ChosenTemplate {
  ChatTemplate form;
  std::string why;   // in a few words
  std::string note;  // a line for the user, when a chat template was not understood; empty: none
};

// A chat template's text comes first: one with the flower is the form flower, one with "### User"
// markdown, one with "User:" or "Assistant:", and the bare word rwkv-world, chat. Then names:
// RWKV-7 models called g1h or later are trained on flower. Without any clue: chat.
ChosenTemplate choose_template(const ChatClues& clues);

// Whether a model has learnt to fill gaps (text/fill_in_the_middle.h): those called g1c and later
// have, and those whose conversations are had in flower or markdown, which came after them.
bool fills_gaps(const ChatClues& clues, const ChatTemplate& form);

// The first name that says which G1 the model is, or nothing.
std::string telling_name(const ChatClues& clues);

}  // namespace anser
