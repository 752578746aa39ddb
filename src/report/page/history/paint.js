// Draws what is in sight of a picture onto its canvas. What is narrower than a pixel is merged with its neighbours.
const NARROW = 4, WORDS_FROM = 34, DIM = 0.28;

class LanePainter {
  constructor(canvas, model) {
    Object.assign(this, { canvas, model, context: canvas.getContext("2d") });
    this.readColours();
  }

  readColours() {
    const style = getComputedStyle(this.canvas);
    const names = ["card", "ink", "soft", "line", "faint", "bad", "good", "focus", "on-band", "k-found"];
    for (const code of CODES) names.push(`k-${code}`);
    for (const family of ["process", "pause", "network", "disk", "admin"]) names.push(family);
    for (let member = 0; member < 6; member++) names.push(`m${member}`);
    this.colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.palette = CODES.map((code) => this.colours[`k-${code}`]);
    this.font = style.fontFamily;
    this.mono = style.getPropertyValue("--mono");
    this.context.font = `10.5px ${this.mono}`;
    this.letter = this.context.measureText("m".repeat(20)).width / 20;
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas, scale = window.devicePixelRatio || 1;
    this.width = clientWidth;
    this.height = clientHeight;
    this.gutter = clientWidth < 560 ? 66 : 112;
    this.canvas.width = Math.round(clientWidth * scale);
    this.canvas.height = Math.round(clientHeight * scale);
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
  }

  x(at) { return this.gutter + (at - this.view.from) * this.scale; }
  at(x) { return this.view.from + (x - this.gutter) / this.scale; }
  colour(item) { return this.palette[this.model.code[item]]; }

  /// `state`: view, rows, lit (what isn't dimmed, or null), focus (items of evidence), selected and hovered items.
  draw(state) {
    Object.assign(this, state);
    this.axis = this.view.axis;
    this.scale = (this.width - this.gutter) / (this.view.to - this.view.from);
    const { context, colours, width, height } = this;
    context.globalAlpha = 1;
    context.fillStyle = colours.card;
    context.fillRect(0, 0, width, height);
    context.save();
    context.beginPath();
    context.rect(this.gutter, AXIS, width - this.gutter, height - AXIS);
    context.clip();
    this.grid();
    this.bands();
    this.seen = this.rows.rows.filter((row) => this.top(row) < height && this.top(row) + row.height > AXIS);
    this.batch = new Map();
    this.words = [];
    for (const row of this.seen) this.row(row);
    this.flush();
    this.drawWords();
    this.marks();
    context.restore();
    this.labels();
    this.badges();
    this.scales();
    this.scrollBar();
  }

  top(row) { return row.y - this.view.scroll + AXIS; }

  grid() {
    const { context } = this;
    context.fillStyle = this.colours.faint;
    this.ticks = this.view.ticks(this.width - this.gutter, 96);
    for (const tick of this.ticks) context.fillRect(Math.round(this.x(tick.at)), AXIS, 1, this.height);
  }

  /// From a time of a fault to the axis.
  onAxis(time) { return this.axis.name === "time" ? time : this.model.revisionAt(time); }

  /// Faults behind everything.
  bands() {
    this.context.globalAlpha = 0.08;
    let before = null;
    for (const fault of this.model.byFault) {
      // One fault may strike several nodes.
      if (before?.from === fault.from && before.kind === fault.kind) continue;
      before = fault;
      const from = this.x(this.onAxis(fault.from)), to = this.x(this.onAxis(fault.to));
      this.context.fillStyle = this.colours[fault.class.slice(2)] ?? this.colours.soft;
      this.context.fillRect(from, AXIS, Math.max(to - from, 1), this.height);
    }
    this.context.globalAlpha = 1;
  }

  row(row) {
    const y = this.top(row);
    if (row.sort === "head") return;
    this.context.fillStyle = this.colours.faint;
    this.context.fillRect(this.gutter, y + row.height - 1, this.width, 1);
    if (row.sort === "fault") this.faultRow(row, y);
    else if (row.sort === "member") this.memberRow(row, y);
    else this.lane(row, y);
  }

  put(colour, dim, x, y, width, height) {
    const key = dim ? `${colour}~` : colour;
    let rects = this.batch.get(key);
    if (!rects) this.batch.set(key, rects = []);
    rects.push(x, y, width, height);
  }

  flush() {
    for (const [key, rects] of this.batch) {
      this.context.globalAlpha = key.endsWith("~") ? DIM : 1;
      this.context.fillStyle = key.replace("~", "");
      for (let at = 0; at < rects.length; at += 4) this.context.fillRect(rects[at], rects[at + 1], rects[at + 2], rects[at + 3]);
    }
    this.context.globalAlpha = 1;
    this.batch.clear();
  }

  say(text, x, y, width, colour, font) {
    const letters = Math.floor(width / this.letter);
    if (letters < 2) return;
    this.words.push({ text: text.length > letters ? `${text.slice(0, letters - 1)}…` : text, x, y, colour, font });
  }

  drawWords() {
    this.context.textBaseline = "middle";
    for (const { text, x, y, colour, font } of this.words) {
      this.context.font = font ?? `10.5px ${this.mono}`;
      this.context.fillStyle = colour;
      this.context.fillText(text, x, y);
    }
  }

  faultRow(row, y) {
    for (const fault of row.faults) {
      const from = this.x(this.onAxis(fault.from)), to = Math.max(this.x(this.onAxis(fault.to)), from + 3);
      if (to < this.gutter || from > this.width) continue;
      this.put(this.colours[fault.class.slice(2)], false, from, y + 1, to - from, row.height - 3);
      const left = Math.max(from, this.gutter) + 4;
      this.say(fault.kind, left, y + row.height / 2, to - left, this.colours["on-band"], `600 10.5px ${this.font}`);
    }
  }

  /// A step for each revision that was greater than those before.
  memberRow({ member, index, height }, y) {
    const { context, view } = this, byTime = this.axis.name === "time";
    const [places, values] = byTime ? [member.times, member.revisions] : [member.revisions, member.times];
    const of = (member, at) => {
      const [places, values] = byTime ? [member.times, member.revisions] : [member.revisions, member.times];
      return values[Math.min(Math.max(lowerBound(places, at) - 1, 0), values.length - 1)];
    };
    const least = Math.min(...this.model.members.map((member) => of(member, view.from)));
    const most = Math.max(...this.model.members.map((member) => of(member, view.to)));
    const level = (value) => y + height - 5 - (height - 10) * (most > least ? (value - least) / (most - least) : 0.5);
    context.strokeStyle = this.colours[`m${index % 6}`];
    context.lineWidth = 2;
    context.beginPath();
    let pixel = 0, started = false, last = 0;
    // One step in a pixel shows as much as a hundred.
    for (let at = Math.max(0, lowerBound(places, view.from) - 1); at < places.length && places[at] <= view.to; at = Math.max(at + 1, lowerBound(places, this.at(pixel + 0.7)))) {
      const x = this.x(places[at]);
      if (started) context.lineTo(x, last); else context.moveTo(x, level(values[at]));
      context.lineTo(x, last = level(values[at]));
      [pixel, started] = [x, true];
    }
    if (started) context.lineTo(byTime ? Math.min(this.x(this.model.length), this.width) : pixel, last);
    context.stroke();
    const now = of(member, view.to);
    const words = byTime ? grouped(now) : lengthWords(now);
    if (this.width - this.gutter > 300) this.say(words, this.width - 14 - words.length * this.letter, level(now) - 7 < y + 3 ? y + height - 7 : level(now) - 7, 200, this.colours.soft);
  }

  lane(row, y) {
    const lane = this.axis.lanes[row.lane], { view } = this, bar = row.height - 5;
    if (row.stream) this.life(lane, y + row.height / 2);
    else if (this.axis.name === "time") this.tails(row.lane, lane, y + row.height - 4);
    const { from, items, reach } = lane, { to } = this.axis, { lit, palette } = this, { code, rank } = this.model;
    const run = { x: 0, end: -1, colour: 0, dim: false }, pixel = { x: 0, end: -1, colour: 0, dim: false, rank: 0 };
    const endRun = () => { if (run.end > run.x) this.put(palette[run.colour], run.dim, run.x, y + 2, run.end - run.x, bar); run.end = -1; };
    const endPixel = () => {
      if (pixel.end < 0) return;
      if (run.end === pixel.x && run.colour === pixel.colour && run.dim === pixel.dim) run.end = pixel.end;
      else {
        endRun();
        run.x = pixel.x; run.end = pixel.end; run.colour = pixel.colour; run.dim = pixel.dim;
      }
      pixel.end = -1;
    };
    let glyph = -Infinity;
    for (let at = lowerBound(reach, view.from); at < items.length && from[at] <= view.to; at++) {
      const item = items[at], a = this.x(from[at]), b = this.x(to[item]), dim = lit !== null && !lit[item];
      if (row.stream && a - glyph >= 9) {
        endPixel();
        this.glyph(item, a, b, y, row.height, dim);
        glyph = Math.max(a, b - 4);
      } else if (b - a >= NARROW) {
        endPixel();
        endRun();
        this.bar(item, a, b, y + 2, bar, dim);
      } else {
        const x = Math.floor(a), end = Math.max(x + 1, Math.floor(b)), seen = rank[item] + (dim ? 0 : 9);
        const merged = x < pixel.end;
        if (!merged) endPixel();
        if (!merged || seen > pixel.rank) { pixel.colour = code[item]; pixel.dim = dim; pixel.rank = seen; }
        if (!merged) pixel.x = x;
        pixel.end = Math.max(pixel.end, end);
      }
    }
    endPixel();
    endRun();
  }

  bar(item, a, b, y, height, dim) {
    const { colours, model } = this, colour = colours[`k-${KIND_CLASS[model.kind[item]]}`], fate = model.fate[item];
    const left = Math.max(a, this.gutter - 2), right = Math.min(b, this.width + 2);
    if (fate === "u" && this.axis.name === "time") {
      const gradient = this.context.createLinearGradient(a, 0, b + 1, 0);
      gradient.addColorStop(0, colour);
      gradient.addColorStop(1, `${colour}00`);
      this.context.globalAlpha = dim ? DIM : 1;
      this.context.fillStyle = gradient;
      this.context.fillRect(left, y, right - left, height);
      this.context.globalAlpha = 1;
      this.put(colours["k-unknown"], dim, a, y, 2, height);
    } else if (fate === "n") {
      this.put(colours["k-failed"], dim, left, y, right - left, height);
      this.put(colours.card, false, left + 1.5, y + 1.5, right - left - 3, height - 3);
    } else {
      // A hair between neighbours.
      this.put(colour, dim, left, y, right - left - (right - left > 7 ? 1 : 0), height);
    }
    if (right - left < WORDS_FROM) return;
    const ink = fate === "o" || fate === "w" ? colours["on-band"] : colours.ink;
    let room = right - left - 8;
    const revision = fate === "w" ? `r${model.revision[item]}` : "";
    if (revision && room > (model.request(item).length + revision.length + 2) * this.letter && !dim) {
      this.say(revision, right - 5 - revision.length * this.letter, y + height / 2 + 0.5, 999, ink, `600 10.5px ${this.mono}`);
      room -= (revision.length + 1) * this.letter;
    }
    if (!dim || room > 60) this.say(`${fate === "n" ? "✕ " : ""}${model.request(item)}`, left + 4, y + height / 2 + 0.5, room, dim ? colours.soft : ink);
  }

  /// What an operation of unknown outcome may still do: a line to the end of the lane that fades.
  tails(index, lane, y) {
    const open = this.model.openIn(index);
    for (let at = 0; at < open.length; at++) {
      const item = open[at], until = at + 1 < open.length ? this.model.end[open[at + 1]] : Infinity;
      if (until < this.view.from || this.model.end[item] > this.view.to) continue;
      const x = Math.max(this.x(this.model.end[item]), this.gutter), end = Math.min(this.x(until), this.width);
      const gradient = this.context.createLinearGradient(x, 0, this.width, 0);
      gradient.addColorStop(0, this.colours["k-unknown"]);
      gradient.addColorStop(1, `${this.colours["k-unknown"]}00`);
      this.context.globalAlpha = this.lit !== null && !this.lit[item] ? DIM : 0.6;
      this.context.fillStyle = gradient;
      this.context.fillRect(x, y, end - x, 3);
    }
    this.context.globalAlpha = 1;
  }

  /// The line on which the news of a watch stand, from its first to its last.
  life(lane, y) {
    if (!lane.items.length) return;
    const from = Math.max(this.x(lane.from[0]), this.gutter), to = Math.min(this.x(lane.reach.at(-1)), this.width);
    this.context.fillStyle = this.colours.line;
    if (to > from) this.context.fillRect(from, y - 1, to - from, 2);
  }
}
