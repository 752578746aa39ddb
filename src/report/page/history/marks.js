// Draws what lies on the lanes: news of watches, evidence with its numbers, names of rows, scales.
class Painter extends LanePainter {
  /// A message of a stream: its shape tells its kind.
  glyph(item, a, b, y, height, dim) {
    const { context, model } = this, middle = y + height / 2, size = 4.5, kind = model.kind[item];
    context.globalAlpha = dim ? DIM : 1;
    context.fillStyle = context.strokeStyle = this.colours[`k-${KIND_CLASS[kind]}`];
    context.lineWidth = 1.8;
    context.beginPath();
    if (kind === "e") {
      if (b - a > 10) context.rect(a, middle - 3, b - a, 6); else context.arc(a, middle, size - 0.5, 0, 7);
    } else if (kind === "n") this.path([[0, -size], [size, 0], [0, size], [-size, 0]], a, middle);
    else if (kind === "b") this.path([[-3, -size], [size, 0], [-3, size]], a, middle);
    else if (kind === "x") { this.path([[-size, -size], [size, size]], a, middle); this.path([[-size, size], [size, -size]], a, middle); }
    else this.path([[-3, -size], [size, 0], [-3, size]], a, middle);
    if (kind === "x" || kind === "s") { context.closePath(); context.stroke(); } else context.fill();
    context.globalAlpha = 1;
  }

  path(points, x, y) {
    for (const [index, [dx, dy]] of points.entries()) this.context[index ? "lineTo" : "moveTo"](x + dx, y + dy);
  }

  /// Where an item is in sight, at least so wide that it can be seen; null where its row is not shown.
  box(item) {
    const row = this.rows.byLane.get(this.model.columns.lane[item]);
    if (!row || Number.isNaN(this.axis.from[item])) return null;
    const a = this.x(this.axis.from[item]), b = this.x(this.axis.to[item]);
    const width = Math.max(Math.min(b, this.width + 9) - Math.max(a, this.gutter - 9), 7);
    return { x: b - a < 7 ? (a + b) / 2 - 3.5 : Math.max(a, this.gutter - 9), y: this.top(row) + 1, width, height: row.height - 3 };
  }

  /// Evidence with its numbers, what is selected and what is pointed at.
  marks() {
    const { context, colours } = this;
    const outline = (item, colour, width) => {
      const box = this.box(item);
      if (!box) return;
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(box.x - 1, box.y - 1, box.width + 2, box.height + 2);
    };
    for (const item of this.focus) {
      const box = this.box(item);
      if (box && box.width <= 7) { context.fillStyle = this.colour(item); context.fillRect(box.x, box.y, box.width, box.height); }
      outline(item, colours.bad, 2);
    }
    if (this.hovered !== null) outline(this.hovered, colours.soft, 1.5);
    if (this.selected !== null) {
      outline(this.selected, colours.focus, 3);
      const box = this.box(this.selected);
      if (box) {
        context.fillStyle = colours.focus;
        context.globalAlpha = 0.5;
        for (const x of [box.x - 1, box.x + box.width]) context.fillRect(x, AXIS, 1, this.height);
        context.globalAlpha = 1;
      }
    }
  }

  /// The number of each piece of evidence, as in the text beside the picture; at the edge where it is out of sight.
  badges() {
    const { context } = this, taken = new Map();
    this.badgeBoxes = [];
    context.font = `700 10px ${this.font}`;
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (const [index, item] of this.focus.entries()) {
      const box = this.box(item);
      if (!box || box.y + box.height < AXIS || box.y > this.height) continue;
      const left = box.x + box.width < this.gutter, right = box.x > this.width;
      const words = left ? `◂${index + 1}` : right ? `${index + 1}▸` : String(index + 1);
      const width = 9 + words.length * 6;
      let x = left ? this.gutter + 2 + width / 2 : right ? this.width - 9 - width / 2 : Math.max(box.x, this.gutter) - 1;
      const key = Math.round(box.y);
      // Those that would lie on each other stand side by side.
      while ((taken.get(key) ?? []).some((other) => Math.abs(other - x) < width)) x += (right ? -1 : 1) * width;
      taken.set(key, [...(taken.get(key) ?? []), x]);
      this.badgeBoxes.push({ item, x: x - width / 2, y: box.y - 5, width });
      context.fillStyle = this.colours.bad;
      context.beginPath();
      context.roundRect(x - width / 2, box.y - 5, width, 14, 7);
      context.fill();
      context.fillStyle = this.colours.card;
      context.fillText(words, x, box.y + 2.5);
    }
    context.textAlign = "start";
  }

  /// The names of the rows, over what reaches below them.
  labels() {
    const { context, colours } = this;
    context.save();
    context.beginPath();
    context.rect(0, AXIS, this.width, this.height - AXIS);
    context.clip();
    context.fillStyle = colours.card;
    context.fillRect(0, AXIS, this.gutter, this.height);
    context.fillStyle = colours.line;
    context.fillRect(this.gutter - 1, AXIS, 1, this.height);
    context.textBaseline = "middle";
    for (const row of this.seen) {
      const head = row.sort === "head", y = this.top(row) + row.height / 2 + (head ? 3 : 0);
      context.font = head ? `600 11.5px ${this.font}` : `11px ${this.font}`;
      const width = head ? this.width - 12 : this.gutter - 12;
      const text = this.fitted(row.label, width, row.sort === "member" || row.sort === "fault");
      if (head) {
        context.fillStyle = colours.card;
        context.fillRect(0, y - 9, Math.min(context.measureText(text).width + 12, this.width), 18);
      }
      context.fillStyle = head ? colours.ink : colours.soft;
      context.fillText(text, head ? 4 : this.gutter - 6 - context.measureText(text).width, y);
    }
    context.restore();
  }

  /// Cut at its end, or at its start where names differ at their ends.
  fitted(text, width, keepEnd = false) {
    if (this.context.measureText(text).width <= width) return text;
    while (text.length > 1 && this.context.measureText(`${text}…`).width > width) text = keepEnd ? text.slice(1) : text.slice(0, -1);
    return keepEnd ? `…${text}` : `${text}…`;
  }

  /// Two scales: that of the axis, and the revisions by their times, or the times of the revisions.
  scales() {
    const { context, colours, view } = this;
    context.fillStyle = colours.card;
    context.fillRect(0, 0, this.width, AXIS);
    context.fillStyle = colours.line;
    context.fillRect(0, AXIS - 1, this.width, 1);
    context.textBaseline = "middle";
    const name = (text, y) => { context.font = `11px ${this.font}`; context.fillStyle = colours.soft; context.fillText(text, 4, y); };
    const [first, second] = this.axis.name === "time" ? ["time", "revision"] : ["revision", "time"];
    name(first, 10);
    name(second, 33);
    context.font = `11px ${this.font}`;
    for (const tick of this.ticks) {
      const x = Math.round(this.x(tick.at));
      if (x < this.gutter) continue;
      context.fillStyle = colours.soft;
      context.fillRect(x, 4, 1, 13);
      context.fillStyle = colours.ink;
      if (x + context.measureText(tick.words).width + 4 < this.width) context.fillText(tick.words, x + 4, 10.5);
    }
    this.otherScale(view);
  }

  otherScale(view) {
    const { context, colours, model } = this, byTime = this.axis.name === "time";
    const places = byTime ? model.madeEnd : model.told;
    let free = this.gutter;
    for (let at = lowerBound(places, view.from), x = 0; at < places.length && places[at] <= view.to; at = Math.max(at + 1, lowerBound(places, this.at(x + 1)))) {
      x = Math.round(this.x(places[at]));
      context.fillStyle = colours.line;
      context.fillRect(x, 21, 1, 4);
      if (x < free) continue;
      const words = byTime ? grouped(model.revision[model.made[at]]) : lengthWords(model.madeEnd[at]);
      const width = context.measureText(words).width;
      if (x + width + 4 > this.width) break;
      context.fillStyle = colours.soft;
      context.fillRect(x, 21, 1, 18);
      context.fillText(words, x + 4, 33.5);
      free = x + width + 12;
    }
  }

  scrollBar() {
    const room = this.height - AXIS, all = this.rows.height;
    if (all <= room) return;
    this.context.fillStyle = this.colours.soft;
    this.context.globalAlpha = 0.5;
    this.context.beginPath();
    this.context.roundRect(this.width - 6, AXIS + this.view.scroll / all * room, 4, Math.max(room / all * room, 18), 2);
    this.context.fill();
    this.context.globalAlpha = 1;
  }
}
