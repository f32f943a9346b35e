// The tree as the page shows it: a list of buttons, oldest first. A turn stands under the one before
// it; where a turn has several answers, these are set in.
import { title_of } from "./tree.js";

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler);
    } else if (value === true) {
      made.setAttribute(name, "");
    } else if (value !== false && value !== undefined) {
      made.setAttribute(name, value);
    }
  }
  made.append(...children);
  return made;
}

const bytes_text = (bytes) =>
  bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;

export class StatesView {
  #tree;
  #list;
  #root;
  #actions;
  #form = null; // {node, kind: "name" | "remove"}: what the current node's actions show instead

  // actions: go(node or null), name(node, text), fork(node), again(node), download(node), remove(node)
  constructor(tree, list, root, actions) {
    this.#tree = tree;
    this.#list = list;
    this.#root = root;
    this.#actions = actions;
    root.addEventListener("click", () => actions.go(null));
    list.parentElement.addEventListener("keydown", (event) => this.#on_key(event));
  }

  render() {
    const focused = document.activeElement?.dataset?.node;
    this.#mark(this.#root, this.#tree.current === null);
    this.#list.replaceChildren(...this.#rows(null));
    if (focused) this.#list.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
  }

  #mark(button, current) {
    if (current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }

  // Rows of the node's descendants: a chain stays at its depth, branches are lists in a list.
  #rows(node) {
    const rows = [];
    let children = this.#tree.children(node);
    while (children.length === 1) {
      rows.push(this.#row(children[0]));
      children = this.#tree.children(children[0]);
    }
    if (children.length > 1) {
      const branches = children.map((child) =>
        element("li", { class: "branch" }, element("ul", {}, this.#row(child), ...this.#rows(child))));
      rows.push(...branches);
    }
    return rows;
  }

  #row(node) {
    const current = node === this.#tree.current;
    const button = element("button", {
      type: "button", class: "node", "data-node": node.id, "aria-current": current && "true",
      on: { click: () => this.#actions.go(node) },
    });
    button.append(element("span", { class: node.name ? "title named" : "title" }, title_of(node)));
    if (node.saved) button.append(element("span", { class: "size" }, `${node.tokens} tokens`));
    const row = element("li", {}, button);
    if (current) row.append(this.#form?.node === node ? this.#open_form() : this.#toolbar(node));
    return row;
  }

  #toolbar(node) {
    const bar = element("div", { class: "actions", role: "group", "aria-label": `What to do with ${title_of(node)}` });
    const add = (label, action, title) =>
      bar.append(element("button", { type: "button", class: "plain", title, on: { click: action } }, label));
    add("Name", () => this.#show_form(node, "name"), "Give it a name");
    if (node.words) add("Again", () => this.#actions.again(node), "Have this turn written anew, beside this one");
    if (node.saved) {
      add("Fork", () => this.#actions.fork(node), "A second state that is the same");
      add("Download", () => this.#actions.download(node), `The state's file, ${bytes_text(node.bytes)}`);
    }
    add("Delete", () => this.#show_form(node, "remove"), node.saved ? "Delete it; states after it stay" : "Delete it and what came after it");
    return bar;
  }

  #show_form(node, kind) {
    this.#form = { node, kind };
    this.render();
    this.#list.querySelector(".actions input, .actions .danger")?.focus();
  }

  #close_form() {
    const id = this.#form?.node.id;
    this.#form = null;
    this.render();
    this.#list.querySelector(`[data-node="${CSS.escape(id ?? "")}"]`)?.focus();
  }

  #open_form() {
    const { node, kind } = this.#form;
    const cancel = element("button", { type: "button", class: "plain", on: { click: () => this.#close_form() } }, "Cancel");
    const done = (action) => {
      this.#close_form();
      action();
    };
    if (kind === "remove") {
      return element("div", { class: "actions" },
        element("button", { type: "button", class: "plain danger", on: { click: () => done(() => this.#actions.remove(node)) } },
          "Delete for good"), cancel);
    }
    const input = element("input", { value: node.name, "aria-label": "Name", maxlength: "100", autocomplete: "off" });
    const submit = (event) => {
      event.preventDefault();
      done(() => this.#actions.name(node, input.value.trim()));
    };
    return element("form", { class: "actions", on: { submit } }, input,
      element("button", { type: "submit", class: "plain" }, "Keep"), cancel);
  }

  // Up and down go from node to node; Escape leaves a form.
  #on_key(event) {
    if (event.key === "Escape" && this.#form) return this.#close_form();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.classList.contains("node")) return;
    const all = [...this.#list.parentElement.querySelectorAll(".node")];
    all[all.indexOf(event.target) + step]?.focus();
    event.preventDefault();
  }
}
