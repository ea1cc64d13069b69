// The Move tool lifts the region under the pointer off its ground, to move it and, by the corners of a frame, to scale
// it. The frame stays until something else changes the map; until then all that is done to the region starts from what
// was lifted, and nothing is lost on the way.

const GROWTH = 1.1; // of a region by the keys [ and ]

let lifted = null; // { classId, spans, from, ground } as it was; { box, placed } where it is

function drop() {
  lifted = mover.grip = null;
  frameAround(null);
}

// Mirrored, the region's counterpart goes too: `write` paints it again where it belongs.
function lift(at) {
  drop();
  const classId = classAt(at), name = props.classes[classId].name;
  if (!classId) return say("The background stays where it is.");
  if (locked[classId]) return say(`Locked: ${name}.`);
  const spans = connected(at), from = bounds(spans);
  const twin = { x: width - at.x, y: at.y }, other = swapped[classId];
  uncover(spans);
  if (controls.mirror.checked && classAt(twin) === other && !locked[other]) uncover(connected(twin));
  lifted = { classId, spans, from, ground: map.slice() };
  place(from);
  say(`Took ${name}. To scale it, drag a corner, or press [ and ].`);
}

function place(box) {
  lifted.box = box;
  lifted.placed = stretch(lifted.spans, lifted.from, box);
  map.set(lifted.ground);
  redraw();
  write(lifted.placed, lifted.classId);
  frameAround(box);
}

const covers = (spans, { x, y }) => spans.some(([row, start, end]) => row === Math.floor(y) && start <= x && x < end);

const mover = {
  grip: null, // where a drag began: { at, corner, box }
  get cursor() {
    const corner = this.grip?.corner;
    if (!corner) return "move";
    return corner === "left top" || corner === "right bottom" ? "nwse-resize" : "nesw-resize";
  },
  down(at, event) {
    const { corner } = event.target.dataset; // of the frame
    if (!corner && !(lifted && covers(lifted.placed, at))) lift(at);
    this.grip = lifted && { at, corner, box: lifted.box };
  },
  move(at, { shiftKey }) {
    if (!this.grip) return;
    const { at: start, corner, box } = this.grip;
    const dx = Math.round(at.x - start.x), dy = Math.round(at.y - start.y);
    place(corner ? pull(box, corner, dx, dy, shiftKey) : { ...box, left: box.left + dx, top: box.top + dy });
  },
  up() { this.grip = null; },
};

// By keys: a step of its own, or part of the drag that goes on.
function scale(factor) {
  if (!gesture) return change(() => place(grown(lifted.box, factor)));
  place(grown(lifted.box, factor));
  if (mover.grip) mover.grip = { ...mover.grip, at: position, box: lifted.box };
}

// --- Boxes: { left, top, wide, tall } in map pixels ----------------------------------------------------------------

function bounds(spans) {
  let left = width, right = 0, top = height, bottom = 0;
  for (const [row, start, end] of spans) {
    [left, right] = [Math.min(left, start), Math.max(right, end)];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
  }
  return { left, top, wide: right - left, tall: bottom - top };
}

// A box whose corner was dragged; the opposite corner stays.
function pull(box, corner, dx, dy, inProportion) {
  const [side, end] = corner.split(" ");
  let wide = box.wide + (side === "left" ? -dx : dx), tall = box.tall + (end === "top" ? -dy : dy);
  if (inProportion) {
    const factor = Math.max(wide / box.wide, tall / box.tall);
    wide = box.wide * factor;
    tall = box.tall * factor;
  }
  wide = Math.max(1, Math.round(wide));
  tall = Math.max(1, Math.round(tall));
  return {
    left: side === "left" ? box.left + box.wide - wide : box.left,
    top: end === "top" ? box.top + box.tall - tall : box.top,
    wide, tall,
  };
}

// A box scaled about its middle, between one pixel and twice the map.
function grown(box, factor) {
  const wide = box.wide * factor, tall = box.tall * factor;
  if (Math.min(wide, tall) < 1 || wide > 2 * width || tall > 2 * height) return box;
  return { left: box.left + (box.wide - wide) / 2, top: box.top + (box.tall - tall) / 2, wide, tall };
}

// A region stretched from one box to another: every pixel takes what lies under its middle.
function stretch(spans, from, to) {
  const left = Math.round(to.left), wide = Math.max(1, Math.round(to.wide));
  const top = Math.round(to.top), tall = Math.max(1, Math.round(to.tall));
  const across = (column) => left + Math.ceil(((column - from.left) * wide) / from.wide - 0.5);
  const rows = Array.from({ length: from.tall }, () => []);
  for (const [row, start, end] of spans) rows[row - from.top].push([across(start), across(end)]);
  const placed = [];
  for (let row = Math.max(0, top); row < Math.min(height, top + tall); row++) {
    const under = Math.floor(((row - top + 0.5) * from.tall) / tall);
    for (const [start, end] of rows[under]) placed.push([row, start, end]);
  }
  return placed;
}
