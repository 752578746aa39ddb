// What part of the picture is in sight: a stretch of the axis, and how far down the rows are scrolled.
const UNITS = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

/// A number with thin spaces between thousands.
const grouped = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");

const timeWords = (ns, step) => {
  const [unit, name] = UNITS.find(([unit]) => step >= unit) ?? UNITS.at(-1);
  return `${grouped(Math.round(ns / unit))} ${name}`;
};

/// A length of time with three digits that say something.
const lengthWords = (ns) => {
  const [unit, name] = UNITS.find(([unit]) => Math.abs(ns) >= unit) ?? UNITS.at(-1);
  return `${Number((ns / unit).toPrecision(3))} ${name}`;
};

const sinceWords = (ns) => `${(ns / 1e6).toFixed(3)} ms`;

class View {
  constructor(axis) {
    this.scroll = 0;
    this.setAxis(axis);
  }

  setAxis(axis) {
    this.axis = axis;
    [this.from, this.to] = axis.domain;
  }

  get least() { return this.axis.name === "time" ? 20 : 0.05; }

  /// Shows this stretch, within a little more than there is.
  show(from, to) {
    const [first, last] = this.axis.domain;
    const room = (last - first) * 0.02;
    const width = Math.min(Math.max(to - from, this.least), (last - first) + 2 * room);
    from = (from + to) / 2 - width / 2;
    from = Math.min(Math.max(from, first - room), last + room - width);
    [this.from, this.to] = [from, from + width];
  }

  whole() { this.show(...this.axis.domain); }

  /// `at` stays where it is.
  zoom(factor, at = (this.from + this.to) / 2) {
    const width = Math.max((this.to - this.from) * factor, this.least);
    const share = (at - this.from) / (this.to - this.from);
    this.show(at - share * width, at + (1 - share) * width);
  }

  pan(share) {
    const by = (this.to - this.from) * share;
    this.show(this.from + by, this.to + by);
  }

  /// Round places along the axis with their words, at least `apart` pixels from each other.
  ticks(width, apart) {
    const rough = (this.to - this.from) * apart / Math.max(width, 1);
    const base = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].map((factor) => factor * base).find((step) => step >= rough) ?? rough;
    if (this.axis.name === "revision") step = Math.max(1, Math.round(step));
    const ticks = [];
    for (let index = Math.ceil(this.from / step); index * step <= this.to; index++) {
      const at = index * step;
      ticks.push({ at, words: this.axis.name === "time" ? timeWords(at, step) : grouped(at) });
    }
    return ticks;
  }
}
