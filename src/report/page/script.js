"use strict";
// Brings the page to life: tooltips, zoom and windows in the pictures, the logs. All data is in the page.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const CHUNK = 300;
  const LEVELS = ["error", "warn", ""];
  const CLICK_MS = 500;
  const seconds = (ms, digits = 1) => (ms / 1000).toFixed(digits);

  // Tooltips: of whatever has words, at the pointer or at what has the focus.
  const tip = one("#tip");
  const wordsOf = (element) => element.dataset.t || element.getAttribute("aria-label");
  const showTip = (element, x, y) => {
    tip.textContent = wordsOf(element);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 12, innerWidth - box.width - 8))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(8, y - box.height - 10) : y + 18}px`;
  };
  const hideTip = () => { tip.hidden = true; };
  document.addEventListener("pointermove", (event) => {
    const element = event.target.closest?.("[data-t]");
    if (element) showTip(element, event.clientX, event.clientY); else hideTip();
  });
  const focusTip = () => {
    const element = document.activeElement?.closest("[data-t]");
    if (!element) return hideTip();
    const box = element.getBoundingClientRect();
    showTip(element, box.left, box.bottom - 14);
  };
  document.addEventListener("focusin", focusTip);
  document.addEventListener("focusout", hideTip);
  // Focus scrolls its element into sight, and the words go with it.
  document.addEventListener("scroll", focusTip, { passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

  class Timeline {
    constructor(section) {
      this.section = section;
      this.picture = one(".picture", section);
      this.length = Number(this.picture.dataset.length);
      this.zoom = [0, this.length];
      this.window = null;
      this.overlay = one(".overlay", section);
      this.form = one(".filters", section);
      this.lines = null;
      this.shown = 0;
      for (const plot of all(".plot", section)) this.listen(plot);
      one("[data-do=zoom]", section).addEventListener("click", () => this.zoomTo(...this.window));
      one("[data-do=clear]", section).addEventListener("click", () => this.setWindow(null));
      one("[data-do=whole]", section).addEventListener("click", () => this.zoomTo(0, this.length));
      one(".more", section).addEventListener("click", () => this.more());
      this.form.addEventListener("submit", (event) => event.preventDefault());
      this.form.addEventListener("input", (event) => this.changed(event.target));
      section.addEventListener("toggle", () => { if (section.open) this.ready(); });
      if (section.open) this.ready();
    }

    /// Reads the log when it is first looked at.
    ready() {
      this.ticks();
      if (this.lines) return;
      const data = JSON.parse(one("script[type='application/json']", this.section).textContent);
      this.sources = data.sources;
      this.lab = data.sources.indexOf(data.lab);
      this.lines = data.lines;
      this.filter();
    }

    at(plot, event) {
      const box = plot.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return this.zoom[0] + share * (this.zoom[1] - this.zoom[0]);
    }

    listen(plot) {
      let start = null, moved = false;
      plot.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        [start, moved] = [this.at(plot, event), false];
        plot.setPointerCapture(event.pointerId);
      });
      plot.addEventListener("pointermove", (event) => {
        const now = this.at(plot, event);
        this.cursor(now);
        if (start === null) return;
        const width = plot.getBoundingClientRect().width;
        moved ||= Math.abs(now - start) * width / (this.zoom[1] - this.zoom[0]) > 4;
        if (moved) this.drawWindow([Math.min(start, now), Math.max(start, now)]);
      });
      plot.addEventListener("pointerup", (event) => {
        if (start === null) return;
        const now = this.at(plot, event);
        if (moved) this.setWindow([Math.min(start, now), Math.max(start, now)]);
        else this.setWindow([Math.max(0, now - CLICK_MS), Math.min(this.length, now + CLICK_MS)]);
        start = null;
      });
      plot.addEventListener("pointercancel", () => { start = null; this.drawWindow(this.window); });
      plot.addEventListener("pointerleave", () => this.cursor(null));
    }

    percent(ms) { return (ms - this.zoom[0]) / (this.zoom[1] - this.zoom[0]) * 100; }

    place(element, from, to) {
      element.hidden = false;
      element.style.left = `${this.percent(from)}%`;
      if (to !== undefined) element.style.width = `${this.percent(to) - this.percent(from)}%`;
    }

    cursor(ms) {
      const cursor = one(".cursor", this.overlay);
      if (ms === null) cursor.hidden = true; else this.place(cursor, ms);
    }

    drawWindow(window) {
      const element = one(".window", this.overlay);
      if (window) this.place(element, ...window); else element.hidden = true;
    }

    /// The log shows this time alone, or all of it for null.
    setWindow(window) {
      this.window = window;
      this.drawWindow(window);
      const tools = one(".window-tools", this.section);
      tools.hidden = !window;
      if (window) one("output", tools).textContent = `${seconds(window[0])} to ${seconds(window[1])} s`;
      this.form.elements.from.value = window ? seconds(window[0]) : "";
      this.form.elements.to.value = window ? seconds(window[1]) : "";
      this.filter();
    }

    zoomTo(from, to) {
      if (to - from < 50) [from, to] = [Math.max(0, from - 25), from + 25];
      this.zoom = [from, to];
      one("[data-do=whole]", this.section).hidden = from <= 0 && to >= this.length;
      for (const svg of all("svg.s", this.picture)) {
        svg.setAttribute("viewBox", `${from} 0 ${to - from} ${svg.viewBox.baseVal.height}`);
      }
      for (const element of all("svg.f > [data-a]", this.picture)) {
        let start = Number(element.dataset.a);
        if (element.dataset.b) {
          const end = Number(element.dataset.b);
          // What began before the window keeps its words in sight.
          if (end > from) start = Math.max(start, from);
          element.setAttribute("width", `${Math.max(this.percent(end) - this.percent(start), 0.4)}%`);
        }
        element.setAttribute("x", `${this.percent(start)}%`);
      }
      this.overlays();
      this.ticks();
    }

    overlays() {
      for (const quiet of all(".quiet", this.overlay)) this.place(quiet, Number(quiet.dataset.a), Number(quiet.dataset.b));
      this.drawWindow(this.window);
    }

    /// As many round times as there is room for.
    ticks() {
      const axis = one(".ticks", this.section);
      const [from, to] = this.zoom;
      const wanted = Math.max(2, axis.clientWidth / 90);
      const rough = (to - from) / wanted;
      const base = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((factor) => factor * base).find((step) => step >= rough);
      const digits = Math.max(0, 3 - Math.floor(Math.log10(step)));
      axis.replaceChildren();
      for (let at = Math.ceil(from / step) * step; at < to; at += step) {
        const tick = document.createElement("span");
        tick.style.left = `${this.percent(at)}%`;
        tick.textContent = `${seconds(at, digits)} s`;
        axis.append(tick);
      }
      this.overlays();
    }

    changed(input) {
      if (input.type !== "number") return this.filter();
      const { from, to } = this.form.elements;
      if (!from.value && !to.value) return this.setWindow(null);
      const number = (value, otherwise) => value === "" ? otherwise : Number(value) * 1000;
      this.window = [number(from.value, 0), number(to.value, this.length)];
      this.drawWindow(this.window);
      this.filter();
    }

    filter() {
      if (!this.lines) return;
      const { text, level } = this.form.elements;
      const [from, to] = this.window ?? [-1, Infinity];
      this.words = text.value.toLowerCase();
      const sources = new Set(all("[name=source]:checked", this.form).map((box) => Number(box.value)));
      this.found = this.lines.filter(([at, source, grave, words]) =>
        at >= from && at <= to && grave <= Number(level.value) && sources.has(source) &&
        (!this.words || words.toLowerCase().includes(this.words)));
      this.shown = 0;
      one(".lines", this.section).replaceChildren();
      this.more();
      one(".lines", this.section).scrollTop = 0;
    }

    more() {
      const next = this.found.slice(this.shown, this.shown + CHUNK);
      this.shown += next.length;
      one(".lines", this.section).append(...next.map((line) => this.line(line)));
      one(".more", this.section).hidden = this.shown >= this.found.length;
      const count = (number) => number.toLocaleString("en");
      one(".count", this.section).textContent = this.found.length
        ? `${count(this.shown)} of ${count(this.found.length)} lines that fit, ${count(this.lines.length)} in all`
        : "No line fits.";
    }

    line([at, source, grave, words]) {
      const item = document.createElement("li");
      if (grave < 2) item.classList.add(LEVELS[grave][0]);
      if (source === this.lab) item.classList.add("lab");
      const part = (name, content) => {
        const span = document.createElement("span");
        span.className = name;
        span.textContent = content;
        item.append(span);
        return span;
      };
      part("t", seconds(at, 3));
      part("s", this.sources[source]).title = this.sources[source];
      const message = part("m", "");
      if (grave < 2) {
        const sign = document.createElement("b");
        sign.textContent = LEVELS[grave];
        message.append(sign);
      }
      this.marked(message, words);
      return item;
    }

    /// The text, with what was looked for marked.
    marked(element, text) {
      const lower = text.toLowerCase();
      let from = 0;
      // Lower case of another length would mark the wrong letters.
      if (this.words && lower.length === text.length) {
        for (let at = lower.indexOf(this.words); at >= 0; at = lower.indexOf(this.words, from)) {
          const mark = document.createElement("mark");
          mark.textContent = text.slice(at, at + this.words.length);
          element.append(text.slice(from, at), mark);
          from = at + this.words.length;
        }
      }
      element.append(text.slice(from));
    }

    /// Leads to a time: opens the timeline, zooms to it with some room around, and shows its log.
    goTo(from, to) {
      this.section.open = true;
      this.ready();
      if (from === undefined || to - from > this.length * 0.8) {
        this.zoomTo(0, this.length);
        this.setWindow(null);
      } else {
        const room = Math.max(3000, (to - from) * 2);
        this.zoomTo(Math.max(0, from - room), Math.min(this.length, to + room));
        this.setWindow([Math.max(0, from - 200), Math.min(this.length, to + 200)]);
      }
      this.section.scrollIntoView();
      one("summary", this.section).focus({ preventScroll: true });
    }
  }

  const timelines = new Map(all("details.timeline").map((section) => [section.id, new Timeline(section)]));

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a.goto");
    if (!link) return;
    const id = link.hash.slice(1);
    const timeline = timelines.get(id);
    if (!timeline) return;
    event.preventDefault();
    history.replaceState(null, "", `#${id}`);
    const { from, to } = link.dataset;
    if (from === undefined) timeline.goTo(); else timeline.goTo(Number(from), Number(to));
  });
  timelines.get(location.hash.slice(1))?.goTo();
  addEventListener("resize", () => {
    for (const timeline of timelines.values()) if (timeline.section.open) timeline.ticks();
  });

  const copy = one("[data-copy]");
  copy?.addEventListener("click", async () => {
    const text = one(`#${copy.dataset.copy}`);
    try {
      await navigator.clipboard.writeText(text.textContent);
      copy.textContent = "Copied";
    } catch {
      // Some browsers forbid it for files: then it is selected, to be copied by hand.
      getSelection().selectAllChildren(text);
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  });

  one("#property-filter")?.addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase();
    const rows = all(".properties tbody tr");
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(words);
    one("#property-none").hidden = rows.some((row) => !row.hidden);
  });

  for (const element of all(".script-only")) element.hidden = false;
})();
