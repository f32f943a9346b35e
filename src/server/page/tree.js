// The tree of turns. A turn is what the user said and what the model wrote then; the state after it
// is its node's. A server that keeps states has the nodes, too: a node's id is its state's, and the
// words stand in the state's note, so that they come back with it. Where it does not, nodes live as
// long as the page.
//
// node: {id, parent: id or null, saved: the server has its state, name, user, text, reasoning,
//        finish: why the text ended, words: user and text are known, tokens, bytes, created}

export class Tree {
  nodes = new Map();
  current = null; // a node, or null: the beginning
  #locals = 0;

  // In place of all saved nodes those that the server has: objects of GET /v1/states. A turn of a
  // page that has no end is still being written, or was stopped when its state had been saved
  // already: nobody has seen all of its words.
  take(states) {
    const current = this.current?.id;
    for (const node of [...this.nodes.values()]) if (node.saved) this.nodes.delete(node.id);
    for (const state of states) if (state.note?.finish !== "") this.nodes.set(state.id, node_of(state));
    this.current = this.nodes.get(current) ?? null;
  }

  add_local(parent, user) {
    const node = {
      id: `local-${++this.#locals}`, parent: parent?.id ?? null, saved: false, name: "", user,
      text: "", reasoning: "", finish: "", words: true, tokens: 0, bytes: 0, created: Date.now() / 1000,
    };
    this.nodes.set(node.id, node);
    return node;
  }

  // The node's state has been saved under this id.
  adopt(node, id) {
    for (const child of this.children(node)) child.parent = id;
    this.nodes.delete(node.id);
    node.id = id;
    node.saved = true;
    this.nodes.set(id, node);
  }

  // Saved nodes after it stay, without a parent; others go with it, for they need its words.
  remove(node) {
    for (const child of this.children(node)) if (!child.saved) this.remove(child);
    this.nodes.delete(node.id);
    if (!this.nodes.has(this.current?.id)) this.current = this.parent(node);
  }

  parent(node) {
    return this.nodes.get(node?.parent) ?? null;
  }
  children(node) {
    const id = node?.id ?? null;
    return [...this.nodes.values()].filter(
      (child) => child.parent === id || (id === null && !this.nodes.has(child.parent)));
  }

  // From the beginning to the node.
  path(node) {
    const nodes = [];
    for (; node; node = this.parent(node)) nodes.unshift(node);
    return nodes;
  }

  // The last node of the path whose state the server has, and those after it.
  base(node) {
    const path = this.path(node);
    const at = path.findLastIndex((each) => each.saved);
    return { saved: path[at] ?? null, since: path.slice(at + 1) };
  }
}

function node_of(state) {
  const note = state.note !== null && typeof state.note === "object" ? state.note : {};
  const text_of = (value) => (typeof value === "string" ? value : "");
  return {
    id: state.id, parent: state.parent, saved: true, name: state.name, user: text_of(note.user),
    text: text_of(note.text), reasoning: text_of(note.reasoning), finish: text_of(note.finish),
    words: typeof note.text === "string", tokens: state.tokens, bytes: state.bytes, created: state.created,
  };
}

// What a node is called in the tree.
export function title_of(node) {
  if (node.name) return node.name;
  const words = (node.user || node.text).trim().replace(/\s+/g, " ");
  return words || (node.words ? "(went on)" : `state of ${node.tokens} tokens`);
}
