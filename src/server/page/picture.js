// The picture of the state at work: three strips, one column a token, one row a head of a layer. Of
// what POST /v1/trace says; include/anser/state_trace.h has the formulas.
import { ApiError, ask } from "./api.js";
import { element } from "./states.js";

// `from` to `to` is what the colour spans. Small shares are the rule, so most of it goes to them.
const MEASURES = [
  { name: "kept", from: 0.55, to: 1, power: 1, about: "what fading leaves of the old" },
  { name: "erased", from: 0, to: 1, power: 0.6, about: "of the old, taken out on purpose" },
  { name: "written", from: 0, to: 1, power: 0.6, about: "of the new, put in by this token" },
];
const MARGIN = 24; // of the layers' numbers, in CSS pixels
const KEPT_TRACES = 24;

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const share = (measure, value) => {
  const x = (value - measure.from) / (measure.to - measure.from);
  return Math.min(1, Math.max(0, x)) ** measure.power;
};

export class Picture {
  #parts; // {section, note, body, strips, readout, text}
  #trace = null;
  #cursor = null; // {token, row} or null; row null: all heads
  #wanted = null; // {id, fields}: what shall be shown
  #shown = null; // its id
  #known = new Map(); // traces by id
  #request = null; // AbortController
  #canvases = [];

  constructor(parts) {
    this.#parts = parts;
    const { strips, text, readout } = parts;
    strips.tabIndex = 0;
    strips.setAttribute("role", "group");
    strips.setAttribute("aria-label", "Strips; arrow keys go from token to token and from head to head");
    for (const measure of MEASURES) {
      const canvas = element("canvas", { role: "img" });
      canvas.addEventListener("pointermove", (event) => this.#point(event));
      canvas.addEventListener("pointerdown", (event) => this.#point(event));
      canvas.addEventListener("pointerleave", () => this.#move(null));
      strips.append(
        element("div", { class: "legend" },
          element("span", { class: "measure" }, measure.name), element("span", { class: "quiet" }, measure.about),
          element("span", { class: "grow" }), element("span", { class: "quiet" }, String(measure.from)),
          element("span", { class: `ramp ${measure.name}` }), element("span", { class: "quiet" }, String(measure.to))),
        canvas);
      this.#canvases.push(canvas);
    }
    strips.addEventListener("keydown", (event) => this.#on_key(event));
    text.addEventListener("pointerover", (event) => {
      const token = event.target.dataset?.token;
      this.#move(token === undefined ? null : { token: Number(token), row: null });
    });
    text.addEventListener("pointerleave", () => this.#move(null));
    this.#take(null);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    new ResizeObserver(() => this.#refresh()).observe(parts.section);
  }

  // Shows what the server says of these fields of a request; null: nothing. `id` names it, so that
  // it is asked for once.
  show(wanted) {
    this.#wanted = wanted;
    this.#refresh();
  }

  // Nothing is asked for while nobody can see it.
  async #refresh() {
    if (!this.#parts.section.offsetParent) return;
    const wanted = this.#wanted;
    if (this.#shown === (wanted?.id ?? null)) return this.#draw();
    this.#shown = wanted?.id ?? null;
    this.#request?.abort();
    if (!wanted) return this.#take(null);
    const known = this.#known.get(wanted.id);
    if (known) return this.#take(known);
    this.#request = new AbortController();
    try {
      const trace = await ask("POST", "/v1/trace", wanted.fields, this.#request.signal);
      if (this.#known.size >= KEPT_TRACES) this.#known.delete(this.#known.keys().next().value);
      this.#known.set(wanted.id, trace);
      this.#take(trace);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#take(null);
      this.#shown = undefined; // to be asked for again
      this.#parts.note.textContent = error instanceof ApiError ? `There is no picture: ${error.message}` : String(error);
    }
  }

  #take(trace) {
    this.#trace = trace;
    this.#cursor = null;
    const { body, note, text } = this.#parts;
    body.hidden = trace === null;
    note.textContent = "Every token fades what each head of each layer remembers, erases some of it on purpose, and writes something new."
      + (trace ? " Columns are tokens, rows are heads, layer under layer." : " Once something is written, here is how much.");
    if (!trace) return;
    text.replaceChildren(...trace.tokens.map((token, t) => {
      const span = element("span", { "data-token": t, class: "token" }, token.text);
      span.style.setProperty("--share", String(share(MEASURES[2], this.#mean("written", t))));
      return span;
    }));
    for (const [i, measure] of MEASURES.entries()) {
      this.#canvases[i].setAttribute("aria-label",
        `${measure.name}, ${measure.about}: ${trace.tokens.length} tokens, ${trace.layers} layers of ${trace.heads} heads`);
    }
    this.#move(null);
  }

  #mean(name, token) {
    const all = this.#trace[name][token].flat();
    return all.reduce((sum, value) => sum + value, 0) / all.length;
  }

  #sizes() {
    const width = this.#parts.strips.clientWidth, rows = this.#trace.layers * this.#trace.heads;
    const column = Math.min(14, (width - MARGIN) / this.#trace.tokens.length);
    const row = Math.min(7, 150 / rows);
    return { width, rows, column, row, height: Math.round(rows * row) };
  }

  #draw() {
    if (!this.#trace || !this.#parts.strips.clientWidth) return;
    for (const [i, measure] of MEASURES.entries()) this.#draw_strip(this.#canvases[i], measure);
  }

  #draw_strip(canvas, measure) {
    const { tokens, layers, heads } = this.#trace;
    const { width, rows, column, row, height } = this.#sizes();
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;

    // One pixel a number, then enlarged.
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const low = rgb(colour("--none")), high = rgb(colour(`--${measure.name}`));
    const image = new ImageData(tokens.length, rows);
    for (let t = 0; t < tokens.length; ++t) {
      for (let r = 0; r < rows; ++r) {
        const x = share(measure, this.#trace[measure.name][t][Math.floor(r / heads)][r % heads]);
        const at = 4 * (r * tokens.length + t);
        for (let c = 0; c < 3; ++c) image.data[at + c] = low[c] + (high[c] - low[c]) * x;
        image.data[at + 3] = 255;
      }
    }
    const small = new OffscreenCanvas(tokens.length, rows);
    small.getContext("2d").putImageData(image, 0, 0);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.imageSmoothingEnabled = row < 1 || column < 1;
    context.drawImage(small, MARGIN, 0, tokens.length * column, height);

    context.fillStyle = colour("--paper");
    for (let l = 1; l < layers && heads * row >= 4; ++l) {
      context.fillRect(MARGIN, Math.round(l * heads * row) - 0.5, tokens.length * column, 1);
    }
    context.fillStyle = colour("--quiet");
    context.font = `10px ${style.fontFamily}`;
    context.textAlign = "right";
    context.textBaseline = "middle";
    const every = Math.ceil(12 / (heads * row));
    for (let l = 0; l < layers; l += every) context.fillText(String(l), MARGIN - 6, (l + 0.5) * heads * row);

    if (!this.#cursor) return;
    context.strokeStyle = colour("--ink");
    context.lineWidth = 1;
    const x = MARGIN + this.#cursor.token * column;
    context.strokeRect(Math.floor(x) + 0.5, 0.5, Math.max(2, Math.round(column)) - 1, height - 1);
    if (this.#cursor.row !== null) {
      context.strokeRect(Math.floor(x) + 0.5, Math.floor(this.#cursor.row * row) + 0.5,
        Math.max(2, Math.round(column)) - 1, Math.max(2, Math.round(row)) - 1);
      context.fillStyle = colour("--ink");
      context.fillRect(MARGIN - 3, Math.floor(this.#cursor.row * row), 2, Math.max(1, row));
    }
  }

  #point(event) {
    if (!this.#trace) return;
    const { rows, column, row } = this.#sizes();
    const token = Math.floor((event.offsetX - MARGIN) / column);
    const at = Math.min(rows - 1, Math.max(0, Math.floor(event.offsetY / row)));
    this.#move(token >= 0 && token < this.#trace.tokens.length ? { token, row: at } : null);
  }

  #on_key(event) {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.#trace || !by) return;
    event.preventDefault();
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    const { token, row } = this.#cursor ?? { token: -by[0], row: -by[1] };
    this.#move({
      token: within(token + by[0], this.#trace.tokens.length),
      row: within((row ?? 0) + by[1], this.#trace.layers * this.#trace.heads),
    });
  }

  #move(cursor) {
    this.#cursor = cursor;
    this.#draw();
    const { text, readout } = this.#parts;
    text.querySelector(".pointed")?.classList.remove("pointed");
    if (!cursor) {
      readout.textContent = "Point at a column, or at a word below.";
      return;
    }
    const marked = text.querySelector(`[data-token="${cursor.token}"]`);
    marked.classList.add("pointed");
    if (cursor.row !== null && text.scrollHeight > text.clientHeight) {
      text.scrollTop = marked.offsetTop - text.offsetTop - text.clientHeight / 2;
    }
    const { tokens, heads } = this.#trace;
    const layer = Math.floor(cursor.row / heads), head = cursor.row % heads;
    const value = (name) =>
      (cursor.row === null ? this.#mean(name, cursor.token) : this.#trace[name][cursor.token][layer][head]).toFixed(3);
    const word = tokens[cursor.token].text;
    readout.replaceChildren(
      element("b", {}, word === "" ? "(beginning)" : JSON.stringify(word).slice(1, -1)),
      cursor.row === null ? " all heads: " : ` layer ${layer}, head ${head}: `,
      ...MEASURES.flatMap(({ name }, i) => [i ? ", " : "", `${name} `, element("span", { class: "number" }, value(name))]));
  }
}
