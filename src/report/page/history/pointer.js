// The pointer on the picture: dragging moves it, two fingers and the wheel zoom it, a click selects; and the strip that
// shows all of the history at once.
class Pointers {
  constructor(picture) {
    this.picture = picture;
    this.down = new Map();
    const { canvas } = picture;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.down.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  place(event) {
    const box = this.picture.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  press(event) {
    if (event.button !== 0) return;
    this.picture.canvas.focus({ preventScroll: true });
    this.picture.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.place(event));
    this.moved = this.down.size > 1;
  }

  move(event) {
    const { picture } = this, { painter, view } = picture, now = this.place(event), before = this.down.get(event.pointerId);
    if (!before) return this.hover(event, now);
    const [dx, dy] = [now.x - before.x, now.y - before.y];
    this.moved ||= Math.hypot(dx, dy) > 4;
    if (!this.moved) return;
    showTip("", 0, 0);
    if (this.down.size === 2) {
      const other = [...this.down].find(([id]) => id !== event.pointerId)[1];
      const apart = Math.max(Math.abs(now.x - other.x), 8), was = Math.max(Math.abs(before.x - other.x), 8);
      view.zoom(was / apart, painter.at((now.x + other.x) / 2));
    } else {
      view.pan(-dx / (painter.width - painter.gutter));
      picture.scrollBy(-dy);
    }
    this.down.set(event.pointerId, now);
    picture.redraw();
  }

  release(event) {
    if (!this.down.delete(event.pointerId) || this.moved) return;
    const item = this.itemAt(this.place(event)), { axis, from, to } = this.picture.view;
    this.picture.select(item, item !== null && (axis.to[item] < from || axis.from[item] > to));
  }

  leave() {
    showTip("", 0, 0);
    this.picture.hovered = null;
    this.picture.redraw();
  }

  wheel(event) {
    event.preventDefault();
    const { painter, view } = this.picture, unit = event.deltaMode === 1 ? 16 : 1;
    const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
    if (event.shiftKey || Math.abs(dx) > Math.abs(dy)) view.pan((dx || dy) / (painter.width - painter.gutter));
    else if (this.place(event).x < painter.gutter) this.picture.scrollBy(dy);
    else view.zoom(Math.exp(Math.min(Math.max(dy, -300), 300) / 400), painter.at(this.place(event).x));
    this.picture.redraw();
  }

  hover(event, place) {
    const { picture } = this, item = this.itemAt(place);
    let words = "";
    if (item !== null) words = picture.words(item);
    else {
      const row = this.rowAt(place.y), fault = row?.sort === "fault" && this.faultAt(row, place.x);
      if (fault) words = `${fault.kind} on ${fault.node}: ${fault.words}\n${sinceWords(fault.from)}, for ${lengthWords(fault.to - fault.from)}`;
      else if (place.x < picture.painter.gutter) words = row?.title ?? "";
    }
    showTip(words, event.clientX, event.clientY);
    picture.canvas.style.cursor = item === null ? "grab" : "pointer";
    if (item !== picture.hovered) { picture.hovered = item; picture.redraw(); }
  }

  rowAt(y) {
    const { rows, view } = this.picture;
    const at = y - AXIS + view.scroll;
    return y < AXIS ? undefined : rows.rows.find((row) => row.y <= at && at < row.y + row.height);
  }

  faultAt(row, x) {
    const { painter } = this.picture;
    return row.faults.find((fault) => painter.x(painter.onAxis(fault.from)) - 2 <= x && x <= painter.x(painter.onAxis(fault.to)) + 3);
  }

  /// The item at a place, or next to it; evidence before others.
  itemAt({ x, y }) {
    const row = this.rowAt(y), { painter, view, focus } = this.picture;
    const badge = painter.badgeBoxes.find((box) => box.x <= x && x <= box.x + box.width && box.y <= y && y <= box.y + 14);
    if (badge) return badge.item;
    if (row?.sort !== "lane" || x < painter.gutter) return null;
    const inside = (item) => { const box = painter.box(item); return box && box.x - 3 <= x && x <= box.x + box.width + 3; };
    const evidence = focus.find((item) => this.picture.model.columns.lane[item] === row.lane && inside(item));
    if (evidence !== undefined) return evidence;
    const lane = view.axis.lanes[row.lane], near = 5 / painter.scale, at = painter.at(x);
    let [best, least] = [null, near];
    for (let index = lowerBound(lane.reach, at - near); index < lane.items.length && lane.from[index] <= at + near; index++) {
      const item = lane.items[index];
      const away = Math.max(lane.from[index] - at, at - view.axis.to[item], 0);
      if (away <= least) [best, least] = [item, away];
    }
    return best;
  }
}

/// All of the history in one line: how much happened when, where evidence and what was found lie, and what is in sight.
class Strip {
  constructor(canvas, picture) {
    Object.assign(this, { canvas, picture, context: canvas.getContext("2d") });
    const go = (event) => {
      if (event.buttons !== 1) return;
      const { view } = picture, box = canvas.getBoundingClientRect(), { gutter } = picture.painter;
      const share = (event.clientX - box.left - gutter) / (box.width - gutter), [first, last] = view.axis.domain;
      const middle = first + share * (last - first), half = (view.to - view.from) / 2;
      view.show(middle - half, middle + half);
      picture.redraw();
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
    canvas.addEventListener("pointermove", go);
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas, scale = window.devicePixelRatio || 1;
    Object.assign(this, { width: clientWidth, height: clientHeight, counts: null });
    [this.canvas.width, this.canvas.height] = [Math.round(clientWidth * scale), Math.round(clientHeight * scale)];
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
  }

  /// How many items begin in each pixel.
  count() {
    const { axis } = this.picture.view, { gutter } = this.picture.painter;
    const [first, last] = axis.domain, room = Math.max(this.width - gutter, 1);
    this.counts = new Float64Array(Math.ceil(room / 2));
    for (const from of axis.from) {
      const place = Math.floor((from - first) / (last - first) * this.counts.length);
      if (place >= 0) this.counts[Math.min(place, this.counts.length - 1)]++;
    }
    this.most = Math.max(1, ...this.counts);
  }

  draw() {
    const { context, picture, width, height } = this, { painter, view, model } = picture, { colours, gutter } = painter;
    if (!this.counts) this.count();
    const [first, last] = view.axis.domain;
    const x = (at) => gutter + Math.min(Math.max((at - first) / (last - first), 0), 1) * (width - gutter);
    context.clearRect(0, 0, width, height);
    context.fillStyle = colours.soft;
    context.globalAlpha = 0.45;
    for (const [index, count] of this.counts.entries()) {
      const tall = Math.sqrt(count / this.most) * (height - 8);
      if (count) context.fillRect(gutter + index * 2, height - 2 - Math.max(tall, 1), 2, Math.max(tall, 1));
    }
    context.globalAlpha = 1;
    const ticks = (items, colour) => {
      context.fillStyle = colour;
      let before = -1;
      for (const item of items) {
        const place = Math.round(x(view.axis.from[item]));
        if (place === before || Number.isNaN(place)) continue;
        context.fillRect(before = place, 0, 2, 6);
      }
    };
    ticks(picture.found ?? [], colours["k-found"]);
    ticks(picture.focus, colours.bad);
    const from = x(view.from), to = Math.max(x(view.to), from + 4);
    context.fillStyle = colours.focus;
    context.globalAlpha = 0.14;
    context.fillRect(from, 0, to - from, height);
    context.globalAlpha = 1;
    context.strokeStyle = colours.focus;
    context.strokeRect(from + 0.5, 0.5, to - from - 1, height - 1);
    context.font = `11px ${painter.font}`;
    context.textBaseline = "middle";
    context.fillStyle = colours.soft;
    context.fillText(model.count > 0 ? "overview" : "", 4, height / 2);
  }
}
