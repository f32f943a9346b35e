// The page's parts put together: what happens when its user does something.
import { ApiError, ask, key, request } from "./api.js";
import { Picture } from "./picture.js";
import { StatesView, element } from "./states.js";
import { Tree, title_of } from "./tree.js";
import { joined_line, note_of, reading, save_as_read, write } from "./writing.js";

const $ = (id) => document.getElementById(id);

const tree = new Tree();
let model = {}; // the server's, from /v1/models
let story = false; // it writes stories and cannot converse
let keeps = false; // the server keeps states
let running = null; // AbortController of the turn that is being written

const STORY_TOKENS = 120, CHAT_TOKENS = 1024; // of a turn

const view = new StatesView(tree, $("tree"), $("root"), { go, name, fork, again, download, remove });
const picture = new Picture({
  section: $("picture"), note: $("picture-note"), body: $("picture-body"), strips: $("strips"),
  readout: $("readout"), text: $("picture-text"),
});

// Errors, and the key.

function show_error(error) {
  if (error.name === "AbortError") return;
  if (error instanceof ApiError && error.status === 401) {
    $("key-form").hidden = false;
    $("key").focus();
    if (!key.get()) return;
    error = new Error("The server does not know this key.");
  }
  $("error-text").textContent = error.message;
  $("error").hidden = false;
}
const hide_error = () => ($("error").hidden = true);

// Calls it and shows what goes wrong. True: nothing did.
async function tried(action) {
  hide_error();
  try {
    await action();
    return true;
  } catch (error) {
    show_error(error);
    return false;
  }
}

// What has been written.

function turn_element(node, busy) {
  const turn = element("article", { class: "turn", "data-turn": node.id });
  if (!node.words) {
    turn.append(element("p", { class: "quiet" }, `${title_of(node)}: a state of ${node.tokens} tokens, whose words are not kept here.`));
    return turn;
  }
  if (story) {
    turn.append(element("p", { class: "prose" }, element("span", { class: "own" }, node.user), node.text));
    if (!busy && node.finish === "stop") turn.append(element("p", { class: "quiet" }, "The story ends here. What comes next begins a new one."));
    return turn;
  }
  if (node.user) turn.append(element("p", { class: "own" }, node.user));
  if (node.reasoning) {
    turn.append(element("details", { class: "thought" }, element("summary", {}, "Thoughts"), element("p", {}, node.reasoning)));
  }
  turn.append(element("p", { class: "answer" }, node.text.trimStart()));
  if (!busy && node.finish === "length") turn.append(element("p", { class: "quiet" }, "It was cut off: the settings say how long it may be."));
  return turn;
}

function render_turns() {
  const path = tree.path(tree.current);
  $("turns").replaceChildren(...path.map((node) => turn_element(node, false)));
  if (path[0]?.parent) $("turns").prepend(element("p", { class: "quiet" }, "The state before this one has been deleted; what it had read is still known to those after it."));
  $("intro").hidden = path.length > 0;
  to_end();
}

function render_turn(node, busy) {
  const old = $("turns").querySelector(`[data-turn="${CSS.escape(node.id)}"]`);
  const at_end = is_at_end();
  const open = old?.querySelector("details")?.open;
  const turn = turn_element(node, busy);
  if (open) turn.querySelector("details").open = true;
  if (old) old.replaceWith(turn);
  else $("turns").append(turn);
  if (at_end) to_end();
}

const is_at_end = () => $("scroll").scrollHeight - $("scroll").scrollTop - $("scroll").clientHeight < 40;
const to_end = () => ($("scroll").scrollTop = $("scroll").scrollHeight);

function render() {
  view.render();
  render_turns();
  show_picture();
}

// A turn.

function settings() {
  const number = (id) => ($(id).value === "" ? undefined : Number($(id).value));
  return {
    temperature: number("temperature"), top_p: number("top_p"), seed: number("seed"),
    max_tokens: number("max_tokens") ?? (story ? STORY_TOKENS : CHAT_TOKENS),
    reasoning_effort: story ? undefined : $("effort").value || undefined,
  };
}

const how = () => ({ story, system: $("system").value.trim() });

// After the end of a story the next words begin another.
const parent_for_next = () => (story && tree.current?.finish === "stop" ? null : tree.current);

async function write_turn(parent, words) {
  const base = tree.base(parent);
  if (story) words = joined_line(parent ? tail_of(parent) : "", words);
  const node = tree.add_local(parent, words);
  tree.current = node;
  running = new AbortController();
  set_busy(true);
  render();
  let failure = null;
  try {
    const fields = { ...reading(base, words, how()), ...settings() };
    const id = await write(node, fields, { story, save: keeps, signal: running.signal, changed: () => render_turn(node, true) });
    if (id) await adopt(node, id);
  } catch (error) {
    failure = error;
    node.finish ||= error.name === "AbortError" ? "stopped" : "broken off";
    if (node.text && keeps) {
      await tried(async () => adopt(node, await save_as_read(node, base, how())));
    } else if (!node.text) {
      tree.remove(node);
      tree.current = parent;
    }
  }
  running = null;
  set_busy(false);
  render();
  if (failure) show_error(failure);
  return failure === null || node.text !== "";
}

const tail_of = (node) => node.text || node.user;

// The node's state has been saved: it takes the state's place in the tree, and its words go beside it.
async function adopt(node, id) {
  tree.adopt(node, id);
  const state = await ask("PATCH", `/v1/states/${id}`, { note: note_of(node) });
  Object.assign(node, { tokens: state.tokens, bytes: state.bytes });
}

function set_busy(busy) {
  $("stop").hidden = !busy;
  $("send").hidden = busy;
  $("turns").setAttribute("aria-busy", String(busy));
  document.body.classList.toggle("busy", busy);
}

async function say() {
  const words = $("say").value.trim();
  if (running || (!words && !story)) return;
  hide_error();
  $("say").value = "";
  if (!(await write_turn(parent_for_next(), words)) && !$("say").value) $("say").value = words;
}

// What the states' buttons do.

function go(node) {
  if (running) return;
  hide_error();
  tree.current = node;
  render();
  if (window.matchMedia("(max-width: 760px)").matches && document.body.dataset.view === "states") show_view("writing");
}

async function name(node, text) {
  await tried(async () => {
    if (node.saved) await ask("PATCH", `/v1/states/${node.id}`, { name: text });
    node.name = text;
  });
  view.render();
}

async function fork(node) {
  await tried(async () => {
    const state = await ask("POST", `/v1/states/${node.id}/fork`, { note: note_of(node) });
    await load_states();
    tree.current = tree.nodes.get(state.id) ?? tree.current;
  });
  render();
}

function again(node) {
  if (!running) write_turn(tree.parent(node), node.user);
}

async function download(node) {
  await tried(async () => {
    const content = await (await request("GET", `/v1/states/${node.id}/content`)).blob();
    const link = element("a", { href: URL.createObjectURL(content), download: `${node.name || node.id}.state` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
}

async function upload(file) {
  await tried(async () => {
    const state = await ask("POST", "/v1/states", file);
    await load_states();
    go(tree.nodes.get(state.id) ?? null);
  });
}

async function remove(node) {
  if (running) return;
  const gone = await tried(async () => {
    if (node.saved) await ask("DELETE", `/v1/states/${node.id}`);
  });
  if (gone) tree.remove(node);
  render();
}

// The picture: of the last turn on top of the state before it, or of the whole text.

function show_picture() {
  const path = tree.path(tree.current);
  const turn = keeps && $("picture-range").value === "turn";
  const from = turn ? path.length - 1 : path.findLastIndex((node) => !node.words) + 1;
  const since = path.slice(from);
  const saved = path[from - 1] ?? null;
  if (running || !model.trace_tokens || since.length === 0 || (saved && !saved.saved)) return picture.show(null);
  const last = since.at(-1);
  picture.show({
    id: `${saved?.id} ${last.id} ${last.text.length}`,
    fields: reading({ saved, since }, "", how()),
  });
}

// The beginning.

async function load_states() {
  const states = [];
  for (let page = { has_more: true }; page.has_more; ) {
    const after = page.last_id ? `?after=${page.last_id}` : "";
    page = await ask("GET", `/v1/states${after}`);
    states.push(...page.data);
  }
  tree.take(states.filter((state) => !model.fingerprint || state.fingerprint === model.fingerprint));
}

async function begin() {
  model = (await ask("GET", "/v1/models")).data[0];
  story = model.kind === "story";
  document.body.classList.toggle("story", story);
  $("key-form").hidden = true;
  $("model").textContent = model.id;
  $("model").title = story ? "a story model" : `chat form ${model.template}`;
  $("intro").textContent = story
    ? "This is a story model: it cannot converse, nor answer questions. What you type is written into a story, and the model goes on from there. With nothing typed, it simply goes on."
    : "A conversation. All that the model knows of it is one state of fixed size; every turn leaves one, and any can be gone back to.";
  $("say").placeholder = story ? "One day, a little goose" : "Say something";
  $("say-label").textContent = story ? "What comes next in the story" : "What you say";
  $("send").textContent = story ? "Go on" : "Send";
  $("max_tokens").placeholder = String(story ? STORY_TOKENS : CHAT_TOKENS);
  try {
    await load_states();
    keeps = true;
  } catch (error) {
    if (!(error instanceof ApiError) || ![400, 404, 501].includes(error.status)) throw error;
  }
  $("upload").hidden = !keeps;
  $("picture").hidden = !model.trace_tokens;
  document.querySelector('[data-show="picture"]').hidden = !model.trace_tokens;
  document.body.classList.toggle("no-picture", !model.trace_tokens);
  $("picture-range").hidden = !keeps;
  $("states-note").textContent = keeps
    ? "Every turn leaves a state. Choose one to go back to it; what you write then is a branch."
    : "Choose a turn to go back to it. This server keeps no states (--state-dir): the turns are gone with this page.";
  render();
  $("say").focus();
}

function show_view(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll("[data-show]")) {
    if (button.dataset.show === name) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
$("say").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  say();
});
$("stop").addEventListener("click", () => running?.abort());
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("key").value);
  $("key").value = "";
  tried(begin);
});
$("picture-range").addEventListener("change", show_picture);
$("error-close").addEventListener("click", hide_error);
$("upload").addEventListener("click", () => $("upload-file").click());
$("upload-file").addEventListener("change", async () => {
  const [file] = $("upload-file").files;
  if (file) await upload(file);
  $("upload-file").value = "";
});
for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => show_view(button.dataset.show));
}

tried(begin);
