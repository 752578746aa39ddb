// What is in a picture: the data of the page as columns of numbers, and where each item lies on each axis.
const OPERATIONS = "rpdtclkm";
const KIND_CLASS = {
  r: "read", p: "put", d: "delete", t: "txn", c: "compact", l: "lease", k: "lock", m: "maintenance",
  s: "sent", b: "created", e: "events", n: "progress", x: "ended",
};
const KIND_WORDS = {
  r: "range", p: "put", d: "delete", t: "transaction", c: "compaction", l: "lease", k: "lock or election",
  m: "maintenance", s: "request on a stream", b: "watch created", e: "watch events", n: "progress of a watch", x: "end",
};

/// What has a colour of its own, and which of several items in one pixel is seen.
const CODES = [...Object.values(KIND_CLASS), "failed", "unknown"];
const RANK = { o: 1, w: 2, n: 3, u: 4 };

/// The first index in a sorted array whose value is at least `value`.
const lowerBound = (array, value) => {
  let [from, to] = [0, array.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (array[middle] < value) from = middle + 1; else to = middle;
  }
  return from;
};

class Model {
  constructor(data) {
    const columns = data.columns;
    const count = columns.took.length;
    Object.assign(this, { data, count, strings: data.strings, lanes: data.lanes, length: Math.max(1, data.length) });
    this.columns = columns;
    this.byFault = [...data.faults].sort((a, b) => a.from - b.from || a.kind.localeCompare(b.kind));
    this.start = new Float64Array(count);
    this.end = new Float64Array(count);
    this.revision = Float64Array.from(columns.revision);
    this.since = Float64Array.from(columns.revision);
    for (const [item, revision] of data.since) this.since[item] = revision;
    this.fate = columns.fate;
    this.kind = columns.kind;
    let now = 0;
    for (let item = 0; item < count; item++) {
      now += columns.start[item];
      this.start[item] = now;
      this.end[item] = columns.took[item] < 0 ? this.length : now + columns.took[item];
    }
    this.code = new Uint8Array(count);
    this.rank = new Uint8Array(count);
    const codes = Object.fromEntries(Object.entries(KIND_CLASS).map(([kind, name]) => [kind, CODES.indexOf(name)]));
    for (let item = 0; item < count; item++) {
      const fate = this.fate[item];
      this.code[item] = fate === "u" ? CODES.indexOf("unknown") : fate === "n" ? CODES.indexOf("failed") : codes[this.kind[item]];
      this.rank[item] = RANK[fate];
    }
    this.closeUnknown();
    this.findRevisions();
    this.axes = {};
  }

  isOperation(item) { return OPERATIONS.includes(this.kind[item]); }
  isOpen(item) { return this.fate[item] === "u"; }
  returned(item) { return this.columns.took[item] >= 0; }

  /// The operations of unknown outcome in a lane.
  openIn(lane) {
    if (!this.open) {
      this.open = this.lanes.map(() => []);
      for (let item = 0; item < this.count; item++) if (this.isOpen(item)) this.open[this.columns.lane[item]].push(item);
    }
    return this.open[lane];
  }

  name(item) {
    const { file, id } = this.columns;
    return `${this.data.files[file[item]]}${typeof id[item] === "string" ? "~" : "#"}${id[item]}`;
  }

  request(item) { return this.strings[this.columns.request[item]]; }
  answer(item) { return this.strings[this.columns.answer[item]]; }
  member(item) { return this.data.members[this.columns.member[item]]; }

  /// What never returned is drawn until the next operation of its lane.
  closeUnknown() {
    const next = new Float64Array(this.lanes.length).fill(this.length);
    for (let item = this.count - 1; item >= 0; item--) {
      const lane = this.columns.lane[item];
      if (!this.returned(item)) this.end[item] = next[lane];
      next[lane] = this.start[item];
    }
  }

  /// Who made which revision, and the revisions that each member had shown by when.
  findRevisions() {
    const made = [], shown = this.data.members.map(() => []);
    let [least, greatest] = [Infinity, 0];
    for (let item = 0; item < this.count; item++) {
      const revision = this.revision[item];
      if (!(revision > 0)) continue;
      least = Math.min(least, this.since[item] || revision);
      greatest = Math.max(greatest, revision);
      if (this.fate[item] === "w") made.push(item);
      if (this.fate[item] !== "u") shown[this.columns.member[item]].push(item);
    }
    this.revisions = greatest ? [least, greatest] : null;
    const byEnd = (a, b) => this.end[a] - this.end[b];
    this.made = made.sort(byEnd);
    this.madeEnd = Float64Array.from(this.made, (item) => this.end[item]);
    this.maker = new Map(made.map((item) => [this.revision[item], item]));
    // By the greatest revision that anybody had been told.
    let top = 0;
    this.told = Float64Array.from(this.made, (item) => (top = Math.max(top, this.revision[item])));
    this.members = this.data.members.map((name, index) => {
      const times = [], revisions = [];
      for (const item of shown[index].sort(byEnd)) {
        if (revisions.length && this.revision[item] <= revisions.at(-1)) continue;
        times.push(this.end[item]);
        revisions.push(this.revision[item]);
      }
      return { name, times: Float64Array.from(times), revisions: Float64Array.from(revisions) };
    }).filter((member) => member.times.length).sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  }

  /// The greatest revision that was told by a time.
  revisionAt(time) {
    const index = lowerBound(this.madeEnd, time);
    return index ? this.told[index - 1] : this.revisions?.[0] ?? 0;
  }

  /// The time by which a revision was told.
  timeAt(revision) {
    const index = lowerBound(this.told, revision);
    return index < this.made.length ? this.madeEnd[index] : this.length;
  }

  /// Where items lie on an axis: `from` and `to` of each, NaN for those that don't, and the items of each lane in order.
  axis(name) { return this.axes[name] ??= name === "time" ? this.byTime() : this.byRevision(); }

  byTime() {
    return this.inLanes({ name: "time", from: this.start, to: this.end, domain: [0, this.length] });
  }

  /// In each revision first who made it, then who was told it, in order of their calls.
  byRevision() {
    const from = new Float64Array(this.count).fill(NaN), to = new Float64Array(this.count).fill(NaN);
    const known = [];
    for (let item = 0; item < this.count; item++) if (this.revision[item] > 0) known.push(item);
    known.sort((a, b) => this.revision[a] - this.revision[b] || (this.fate[b] === "w") - (this.fate[a] === "w") || a - b);
    for (let at = 0; at < known.length;) {
      let next = at;
      while (next < known.length && this.revision[known[next]] === this.revision[known[at]]) next++;
      const width = 1 / (next - at);
      for (let item = at; item < next; item++) {
        const revision = this.revision[known[at]];
        from[known[item]] = Math.min(this.since[known[item]] || revision, revision + (item - at) * width);
        to[known[item]] = revision + (item - at + 0.92) * width;
      }
      at = next;
    }
    const [least, greatest] = this.revisions ?? [0, 1];
    return this.inLanes({ name: "revision", from, to, domain: [least, greatest + 1] });
  }

  inLanes(axis) {
    const items = this.lanes.map(() => []);
    for (let item = 0; item < this.count; item++) {
      if (!Number.isNaN(axis.from[item])) items[this.columns.lane[item]]?.push(item);
    }
    axis.lanes = items.map((list) => {
      if (axis.name !== "time") list.sort((a, b) => axis.from[a] - axis.from[b]);
      // Where no item begins later than another ends, this is the end itself.
      let top = -Infinity;
      const reach = Float64Array.from(list, (item) => (top = Math.max(top, axis.to[item])));
      return { items: Int32Array.from(list), from: Float64Array.from(list, (item) => axis.from[item]), reach };
    });
    axis.middle = this.middle(axis);
    return axis;
  }

  /// How long the operation in the middle takes.
  middle(axis) {
    const step = Math.max(1, Math.floor(this.count / 2000)), widths = [];
    for (let item = 0; item < this.count; item += step) {
      const width = axis.to[item] - axis.from[item];
      if (width > 0 && !this.isOpen(item)) widths.push(width);
    }
    return widths.sort((a, b) => a - b)[widths.length >> 1] ?? (axis.domain[1] - axis.domain[0]) / 50;
  }
}
