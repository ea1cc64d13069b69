// The tools: down, move and up at places in map pixels, with the event that says so, and the cursor they show. Whatever
// they do between down and up is one step of the history.

let last = null; // where the last stroke ended: a line drawn with shift starts there

const chosenClass = () => Number(controls.class.value);
const ink = () => (painting() ? 1 : chosenClass());

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
  brush: painter(ink),
  eraser: painter(() => 0),
  fill: {
    cursor: "crosshair",
    down(at) { write(connected(at), ink()); },
    move() {},
    up() {},
  },
  lasso: {
    cursor: "crosshair",
    down(at) {
      this.straight = false;
      trace(this.points = [at]);
    },
    move(at, { shiftKey }) { // with shift, a straight edge from where it was pressed
      if (this.straight && shiftKey) this.points.pop();
      this.straight = shiftKey;
      this.points.push(at);
      trace(this.points);
    },
    up() {
      write(inside(this.points), ink());
      trace([]);
    },
  },
  pencil,
  pick: picker,
  move: mover,
};
