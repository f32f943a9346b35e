// Turns: what is asked of the server for one, and what comes back.
import { ApiError, ask, stream } from "./api.js";

// `line` as it stands in a story that ends with `before`: after a space, unless a line has just
// ended or the line begins with a comma or the like.
export function joined_line(before, line) {
  const words = line.trim();
  if (words === "" || before === "" || /\s$/.test(before) || /^[,.;:!?)]/.test(words)) return words;
  return " " + words;
}

const said = (node) => [
  ...(node.user ? [{ role: "user", content: node.user }] : []),
  ...(node.text ? [{ role: "assistant", content: node.text }] : []),
];

// What a state must read to come from `from.saved`'s to that after `from.since` and then the new
// words: the fields of a request. A story is one text, a conversation is messages.
export function reading({ saved, since }, words, { story, system }) {
  const fields = saved ? { state: saved.id } : {};
  if (story) return { ...fields, prompt: since.map((node) => node.user + node.text).join("") + words };
  const messages = since.flatMap(said);
  if (!saved && system) messages.unshift({ role: "system", content: system });
  if (words) messages.push({ role: "user", content: words });
  return { ...fields, messages };
}

// Streams into the node; `changed` is called after each piece. Returns the id of the state after
// it, if one was saved. Throws ApiError, and AbortError when the user stops it.
export async function write(node, fields, { story, save, signal, changed }) {
  const body = { ...fields, end_with_sentence: story };
  if (save) body.save_state = { note: note_of(node) };
  const path = story ? "/v1/completions" : "/v1/chat/completions";
  let state = null;
  for await (const { choices } of stream(path, body, signal)) {
    for (const choice of choices) {
      node.text += (story ? choice.text : choice.delta.content) ?? "";
      node.reasoning += choice.delta?.reasoning_content ?? "";
      if (choice.finish_reason) node.finish = choice.finish_reason;
      state = choice.state ?? state;
      if (choice.state_error) throw new ApiError(500, `The state of this turn is not kept: ${choice.state_error}`);
    }
    changed();
  }
  return state;
}

// The words of a turn, kept beside its state, or of too many only the beginning of the user's.
const MOST_NOTE_BYTES = 60_000; // a server takes 64 KiB

export function note_of({ user, text, reasoning, finish }) {
  const note = { user, text, ...(reasoning && { reasoning }), finish };
  const bytes = new TextEncoder().encode(JSON.stringify(note)).length;
  return bytes <= MOST_NOTE_BYTES ? note : { user: user.slice(0, 200), finish };
}

// The state of a turn that ended early: it reads what the turn has come to.
export async function save_as_read(node, base, settings) {
  const since = [...base.since, node];
  const fields = reading({ saved: base.saved, since }, "", settings);
  const state = await ask("POST", "/v1/states", { ...fields, note: note_of(node) });
  return state.id;
}
