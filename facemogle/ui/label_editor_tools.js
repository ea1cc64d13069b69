// The tools: down, move and up at places in map pixels, and the cursor they show. Whatever they do between down and up
// is one step of the history.

let last = null; // where the last stroke ended: a line drawn with shift starts there

const chosenClass = () => Number(controls.class.value);

const painter = (classOf) => ({
  cursor: "ring",
  down(at, { shiftKey }) {
    if (!shiftKey || !last) last = at;
    this.move(at);
  },
  move(at) {
    write(trail(last, at, diameter() / 2), classOf());
    last = at;
  },
  up() {},
});

const picker = {
  cursor: "crosshair",
  down(at) { this.move(at); },
  move(at) { choose("class", String(classAt(at))); },
  up() { if (controls.tool.value === "pick") choose("tool", "brush"); },
};

const hand = {
  cursor: "grabbing",
  down(at) { this.from = at; },
  move(at) { pan(at.x - this.from.x, at.y - this.from.y); },
  up() {},
};

const tools = {
  brush: painter(chosenClass),
  eraser: painter(() => 0),
  fill: {
    cursor: "crosshair",
    down(at) { write(region(at), chosenClass()); },
    move() {},
    up() {},
  },
  lasso: {
    cursor: "crosshair",
    down(at) { trace(this.points = [at]); },
    move(at) {
      this.points.push(at);
      trace(this.points);
    },
    up() {
      write(inside(this.points), chosenClass());
      trace([]);
    },
  },
  pick: picker,
  move: {
    cursor: "move",
    // Mirrored, the region's counterpart goes too: `write` paints it again where it belongs.
    down(at) {
      const classId = classAt(at), twin = { x: width - at.x, y: at.y };
      this.grabbed = null;
      if (!classId) return say("The background stays where it is.");
      if (locked[classId]) return say(`Locked: ${props.classes[classId].name}.`);
      const spans = region(at), other = swapped[classId];
      uncover(spans);
      if (controls.mirror.checked && classAt(twin) === other && !locked[other]) uncover(region(twin));
      this.grabbed = { at, classId, spans, ground: map.slice() };
      this.move(at);
    },
    move(at) {
      if (!this.grabbed) return;
      const { at: from, classId, spans, ground } = this.grabbed;
      const dx = Math.round(at.x - from.x), dy = Math.round(at.y - from.y);
      map.set(ground);
      redraw();
      write(spans.map(([row, start, end]) => [row + dy, start + dx, end + dx]), classId);
    },
    up() {},
  },
};
