// Brings a set of histories to life: pointer, keys, buttons, finding, and the evidence that leads into the picture.
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const tip = one("#tip");

const showTip = (text, x, y) => {
  tip.textContent = text;
  tip.hidden = !text;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(8, y - box.height - 10) : y + 18}px`;
};

class Picture {
  constructor(section) {
    this.section = section;
    this.model = new Model(JSON.parse(one("script[type='application/json']", section).textContent));
    this.canvas = one("canvas.lanes", section);
    for (const part of all(".script-only", section)) part.hidden = part.classList.contains("detail");
    this.painter = new Painter(this.canvas, this.model);
    this.strip = new Strip(one("canvas.strip", section), this);
    this.view = new View(this.model.axis("time"));
    Object.assign(this, { focus: [], finding: null, found: null, lit: null, only: null, selected: null, hovered: null });
    this.detail = one(".detail", section);
    this.legend();
    this.groups();
    this.listen();
    new Pointers(this);
    this.resize();
    this.view.whole();
    const first = one("[data-focus]", section);
    if (first && this.model.data.evidence[first.dataset.focus]?.length) this.show(Number(first.dataset.focus));
  }

  /// Only what there is.
  legend() {
    const { kind, fate } = this.model, seen = new Set();
    for (let item = 0; item < this.model.count; item++) {
      seen.add(KIND_CLASS[kind[item]]);
      if (fate[item] === "n") seen.add("failed");
      if (fate[item] === "u") seen.add("unknown");
    }
    for (const key of all(".legend .key", this.section)) key.hidden = !seen.has(key.dataset.kind);
  }

  /// The headings among the rows, to go to.
  groups() {
    const choice = one("[name=group]", this.section);
    for (const row of rowsOf(this.model, null).rows.filter((row) => row.sort === "head")) {
      const option = document.createElement("option");
      option.textContent = option.value = row.label;
      choice.append(option);
    }
    choice.addEventListener("change", () => {
      const found = () => this.rows.rows.find((row) => row.sort === "head" && row.label === choice.value);
      if (!found()) { one("[name=only]", this.section).checked = false; this.light(); }
      this.view.scroll = found()?.y ?? 0;
      this.scrollBy(0);
      choice.value = "";
    });
  }

  resize() {
    // No taller than what there is to show.
    this.canvas.style.maxHeight = `${rowsOf(this.model, null).height + AXIS}px`;
    this.painter.resize();
    this.strip.resize();
    this.layOut();
  }

  layOut() {
    this.rows = rowsOf(this.model, this.only);
    this.scrollBy(0);
  }

  scrollBy(pixels) {
    const most = Math.max(0, this.rows.height - (this.painter.height - AXIS));
    this.view.scroll = Math.min(Math.max(this.view.scroll + pixels, 0), most);
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = null; this.draw(); });
  }

  draw() {
    const { view, rows, lit, focus, selected, hovered } = this;
    this.painter.draw({ view, rows, lit, focus, selected, hovered });
    this.strip.draw();
  }

  /// What isn't dimmed: what was found, else the evidence.
  light() {
    const items = this.found ?? (this.focus.length ? this.focus : null);
    this.lit = items && new Uint8Array(this.model.count);
    for (const item of items ?? []) this.lit[item] = 1;
    if (this.lit && this.found) for (const item of this.focus) this.lit[item] = 1;
    const only = one("[name=only]", this.section);
    only.disabled = !items?.length;
    if (only.disabled) only.checked = false;
    this.only = only.checked ? new Set([...items, ...this.focus].map((item) => this.model.columns.lane[item])) : null;
    this.layOut();
  }

  /// Leads to the evidence against a guarantee.
  show(finding) {
    this.finding = finding;
    this.focus = this.model.data.evidence[finding] ?? [];
    for (const card of all(".finding", this.section)) card.classList.toggle("current", Number(card.dataset.finding) === finding);
    one("[data-do=evidence]", this.section).hidden = !this.focus.length;
    this.selected = null;
    this.detail.hidden = true;
    one("[name=only]", this.section).checked = this.focus.length > 0 && !this.fits(this.focus);
    this.light();
    this.zoomTo(this.focus);
    this.redraw();
  }

  /// Whether the lanes of these items are in sight together.
  fits(items) {
    const { byLane } = rowsOf(this.model, null);
    const places = items.map((item) => byLane.get(this.model.columns.lane[item]).y);
    return Math.max(...places) - Math.min(...places) < this.painter.height - AXIS - 40;
  }

  /// Zooms to items, with some of what happened around them. Those from long before are left to the edge: evidence
  /// often names a read of all keys from before everything.
  zoomTo(items) {
    const { axis } = this.view;
    items = items.filter((item) => !Number.isNaN(axis.from[item]));
    if (!items.length) return;
    const end = (item) => this.model.isOpen(item) && !this.model.returned(item) ? axis.from[item] + axis.middle : axis.to[item];
    const last = items.reduce((last, item) => Math.max(last, end(item)), -Infinity);
    const starts = items.map((item) => axis.from[item]).sort((a, b) => b - a);
    let from = starts[0];
    // As long as an operation of middle length has a few pixels.
    for (const start of starts) if (last - start < axis.middle * 400) from = start;
    const room = Math.max((last - from) * 0.3, axis.middle * 4);
    this.view.show(from - room, last + room);
    this.scrollTo(items);
  }

  scrollTo(items) {
    const rows = items.map((item) => this.rows.byLane.get(this.model.columns.lane[item])).filter(Boolean);
    if (!rows.length) return;
    const top = Math.min(...rows.map((row) => row.y)), bottom = Math.max(...rows.map((row) => row.y + row.height));
    const room = this.painter.height - AXIS, { scroll } = this.view;
    if (top - 24 < scroll || bottom > scroll + room) {
      this.view.scroll = bottom - top + 48 < room ? (top + bottom - room) / 2 : top - 48;
      this.scrollBy(0);
    }
  }

  /// Shows all that is known of an item, and the item itself.
  select(item, follow = true) {
    this.selected = item;
    this.detail.hidden = item === null;
    for (const button of all("[data-step]", this.section)) {
      const current = item !== null && Number(button.dataset.finding) === this.finding && this.focus[button.dataset.step] === item;
      button.setAttribute("aria-current", current);
    }
    if (item !== null) {
      this.tell(item);
      if (follow) this.follow(item);
    }
    this.redraw();
  }

  follow(item) {
    const { axis } = this.view, from = axis.from[item];
    if (Number.isNaN(from)) return;
    if (!this.rows.byLane.has(this.model.columns.lane[item])) { one("[name=only]", this.section).checked = false; this.light(); }
    const width = this.view.to - this.view.from, own = axis.to[item] - from;
    const wanted = own > 0 ? Math.min(width, Math.max(own, axis.middle) * 60) : width;
    if (from < this.view.from || from + Math.min(own, width / 2) > this.view.to || wanted < width) {
      const middle = from + Math.min(own, wanted) / 2;
      this.view.show(middle - wanted / 2, middle + wanted / 2);
    }
    this.scrollTo([item]);
  }

  words(item) {
    const { model } = this, revision = model.revision[item];
    const parts = [model.request(item), model.answer(item)].filter(Boolean).join(" → ");
    const took = model.isOperation(item) && model.returned(item) ? `, ${lengthWords(model.end[item] - model.start[item])}` : "";
    return `${parts}\n${sinceWords(model.start[item])}${took} · p${model.columns.process[item]} · ${model.member(item)}${revision > 0 ? ` · revision ${revision}` : ""}`;
  }

  tell(item) {
    const { model } = this, { start, end } = model;
    const returned = model.returned(item) ? `${sinceWords(end[item])}, after ${lengthWords(end[item] - start[item])}` : "never";
    const list = document.createElement("dl");
    const add = (name, value) => {
      if (!value) return;
      const [term, words] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, words.textContent] = [name, value];
      list.append(term, words);
    };
    add("asked", model.request(item));
    add("answered", model.answer(item));
    if (model.isOperation(item)) {
      add("called", sinceWords(start[item]));
      add("returned", returned);
    } else add("at", sinceWords(start[item]));
    const revision = model.revision[item], since = model.since[item];
    if (revision > 0) add("revision", `${since < revision ? `${since} to ` : ""}${revision}${model.fate[item] === "w" ? ", made by it" : ""}`);
    const maker = model.maker.get(revision);
    add("by", `p${model.columns.process[item]} at ${model.member(item)}`);
    add("recorded as", model.name(item));
    const head = document.createElement("h4");
    head.textContent = KIND_WORDS[model.kind[item]];
    this.detail.replaceChildren(head, list);
    if (maker !== undefined && maker !== item) this.detail.append(this.button(`who made revision ${revision}`, () => this.select(maker)));
    const key = model.columns.keys[item], first = model.strings[typeof key === "number" ? key : key[0]];
    if (first) this.detail.append(this.button("find its key", () => this.ask(`key="${first}"`)));
    this.detail.append(this.button("close", () => { this.select(null); this.canvas.focus({ preventScroll: true }); }));
  }

  button(words, act) {
    const button = document.createElement("button");
    [button.type, button.textContent] = ["button", words];
    button.addEventListener("click", act);
    return button;
  }

  ask(query) {
    one("[name=find]", this.section).value = query;
    this.find();
  }

  find() {
    this.found = find(this.model, one("[name=find]", this.section).value);
    this.light();
    this.at = -1;
    this.countFound();
    if (this.found?.length) this.step(1);
    else this.redraw();
  }

  countFound() {
    const count = one(".find .count", this.section);
    if (!this.found) count.textContent = "";
    else if (!this.found.length) count.textContent = "nothing fits";
    else count.textContent = `${grouped(this.at + 1)} of ${grouped(this.found.length)}`;
  }

  /// To the next or the previous of what was found; of evidence, if nothing was looked for.
  step(by) {
    const items = this.found ?? this.focus;
    if (!items.length) return;
    const now = items.indexOf(this.selected);
    this.at = ((now < 0 ? (by > 0 ? -1 : 0) : now) + by + items.length) % items.length;
    this.select(items[this.at]);
    this.countFound();
  }

  setAxis(name) {
    const { model, view } = this;
    if (view.axis.name === name) return;
    const [from, to] = name === "revision" ? [model.revisionAt(view.from), model.revisionAt(view.to) + 1] : [model.timeAt(view.from), model.timeAt(view.to)];
    view.setAxis(model.axis(name));
    view.show(from, to);
    this.strip.count();
    if (this.focus.length) this.zoomTo(this.focus);
    const without = view.axis.from.reduce((count, from) => count + Number.isNaN(from), 0);
    one(".note", this.section).textContent = without ? `${grouped(without)} without a revision are not here` : "";
    for (const button of all("[data-axis]", this.section)) button.setAttribute("aria-pressed", button.dataset.axis === name);
    this.redraw();
  }

  clear() {
    showTip("", 0, 0);
    if (this.selected !== null) return this.select(null);
    if (this.found) return this.ask("");
    this.focus = [];
    for (const card of all(".finding", this.section)) card.classList.remove("current");
    this.light();
  }

  act(name) {
    if (name === "in") this.view.zoom(0.5);
    if (name === "out") this.view.zoom(2);
    if (name === "whole") this.view.whole();
    if (name === "evidence") return this.show(this.finding);
    if (name === "next") return this.step(1);
    if (name === "previous") return this.step(-1);
    this.redraw();
  }

  listen() {
    const { section } = this;
    section.addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      if (!button) return;
      const { focus, finding, step, axis } = button.dataset;
      if (button.dataset.do) this.act(button.dataset.do);
      else if (axis) this.setAxis(axis);
      else if (focus !== undefined) this.show(Number(focus));
      else if (step !== undefined) {
        if (this.finding !== Number(finding) || !this.focus.length) this.show(Number(finding));
        const item = this.focus[step];
        if (item !== undefined) this.select(item);
      }
    });
    one(".find", section).addEventListener("submit", (event) => { event.preventDefault(); this.step(1); });
    one("[name=find]", section).addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.find(), 150);
    });
    one("[name=only]", section).addEventListener("change", () => { this.light(); this.scrollTo(this.focus); });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => this.view.pan(-0.2), ArrowRight: () => this.view.pan(0.2),
      ArrowUp: () => this.scrollBy(-60), ArrowDown: () => this.scrollBy(60),
      PageUp: () => this.view.pan(-0.9), PageDown: () => this.view.pan(0.9),
      "+": () => this.view.zoom(0.5), "=": () => this.view.zoom(0.5), "-": () => this.view.zoom(2), Home: () => this.view.whole(),
      n: () => this.step(1), p: () => this.step(-1), e: () => this.act("evidence"), Escape: () => this.clear(),
      "/": () => one("[name=find]", this.section).focus(),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
    this.redraw();
  }
}

const pictures = [];
const ready = (section) => {
  if (section.picture || !section.open || !one("canvas.lanes", section)) return;
  section.picture = new Picture(section);
  pictures.push(section.picture);
};
for (const section of all("details.history")) {
  section.addEventListener("toggle", () => ready(section));
  ready(section);
}
addEventListener("resize", () => { for (const picture of pictures) picture.resize(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const picture of pictures) { picture.painter.readColours(); picture.redraw(); }
});
