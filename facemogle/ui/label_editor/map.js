// The label map. `map` holds the class ids, row by row; the canvas only shows it and is never read back.
// A region is a list of spans, [row, from, to): every tool makes one, and `write` alone paints it.

const form = element.querySelector("form");
const canvas = form.querySelector("canvas");
const context = canvas.getContext("2d");
const controls = form.elements;
// The palette groups the classes; here they are in the order of their ids.
const byClass = (inputs) => Array.from(inputs).sort((one, other) => one.value - other.value);
const shares = byClass(controls.class).map((choice) => choice.parentElement.querySelector(".share"));
const colours = Uint32Array.from(props.classes, ({ colour }) => {
  const rgb = parseInt(colour.slice(1), 16);
  return ((255 << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0; // little-endian RGBA
});
const swapped = Uint8Array.from(props.classes, ({ mirrored }) => mirrored); // left <-> right
const locked = new Uint8Array(colours.length), unseen = new Uint8Array(colours.length); // 1 where it is so

let height = 0, width = 0;
let map = new Uint8Array(0);
let picture = null, pixels = null; // the canvas's ImageData and its view as 32-bit colours
let dirty = null; // rows [top, bottom) that the canvas does not show yet
let alpha = 255; // of the map over a picture; its outlines stay opaque

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// --- Label map <-> run lengths ---------------------------------------------------------------------------------

function encode() {
  // Without a prototype, since Gradio watches and copies plain objects number by number: a quarter of a second a stroke.
  return Object.assign(Object.create(null), { height, width, runs: runsOf(map), region: region && runsOf(region) });
}

function runsOf(values) {
  const runs = [];
  for (let start = 0, end = 0; start < values.length; start = end) {
    while (end < values.length && values[end] === values[start]) end++;
    runs.push(values[start], end - start);
  }
  return runs;
}

function expand(runs, length) {
  const values = new Uint8Array(length);
  for (let i = 0, start = 0; i < runs.length; i += 2) values.fill(runs[i], start, (start += runs[i + 1]));
  return values;
}

function show(data) {
  drop();
  if (data.height !== height || data.width !== width || !picture) {
    ({ height, width } = data);
    canvas.height = height;
    canvas.width = width;
    map = new Uint8Array(height * width);
    refit();
    picture = context.createImageData(width, height);
    pixels = new Uint32Array(picture.data.buffer);
    dirty = null;
    resized();
  }
  map = expand(data.runs, map.length);
  region = data.region ? expand(data.region, map.length) : null;
  redraw();
}

// --- The canvas and the shares follow once a frame ---------------------------------------------------------------

function redraw(top = 0, bottom = height) {
  if (!dirty) requestAnimationFrame(refresh);
  dirty = dirty ? [Math.min(dirty[0], top), Math.max(dirty[1], bottom)] : [top, bottom];
}

function refresh() {
  if (!dirty) return;
  const [top, bottom] = dirty;
  dirty = null;
  paint(Math.max(0, top - 1), Math.min(height, bottom + 1)); // what is painted may outline the rows next to it
  const counts = new Uint32Array(colours.length);
  for (let i = 0; i < map.length; i++) counts[map[i]]++;
  shares.forEach((share, classId) => {
    const text = percent((100 * counts[classId]) / map.length);
    if (share.textContent !== text) share.textContent = text;
  });
  if (painting()) drawMarks(); // else with the end of a stroke
}

function paint(top, bottom) {
  const opaque = colours.map((colour, classId) => (unseen[classId] ? 0 : colour)); // 0: transparent
  const veiled = opaque.map((colour) => colour && (colour & 0xffffff) | (alpha << 24));
  for (let i = top * width; i < bottom * width; i++) {
    pixels[i] = alpha === 255 || onOutline(i) ? opaque[map[i]] : veiled[map[i]];
  }
  context.putImageData(picture, 0, 0, 0, top, width, bottom - top);
}

function onOutline(i) {
  const x = i % width, classId = map[i];
  return (x > 0 && map[i - 1] !== classId) || (x < width - 1 && map[i + 1] !== classId) ||
    (i >= width && map[i - width] !== classId) || (i + width < map.length && map[i + width] !== classId);
}

function percent(share) {
  if (share === 0) return "–";
  return share < 0.1 ? "<0.1%" : `${share.toFixed(share < 9.95 ? 1 : 0)}%`;
}

// --- Writing: locked classes keep their pixels; mirrored, what is painted wins over its own mirror image -----------
// While the region that may change is painted, it takes 1 and 0 in place of the map's classes.

function write(spans, classId) {
  if (painting()) region ??= offered().slice();
  if (controls.mirror.checked) {
    for (const [row, from, to] of spans) put(row, width - to, width - from, swapped[classId]);
  }
  for (const [row, from, to] of spans) put(row, from, to, classId);
}

function put(row, from, to, classId) {
  if (row < 0 || row >= height) return;
  const end = row * width + Math.min(width, to), ofRegion = painting();
  for (let i = row * width + Math.max(0, from); i < end; i++) {
    if (ofRegion) region[i] = Math.min(1, classId);
    else if (!locked[map[i]]) map[i] = classId;
  }
  redraw(row, row + 1);
}

function flip() {
  drop();
  const other = (i) => i - 2 * (i % width) + width - 1;
  map = map.map((_, i) => swapped[map[other(i)]]);
  region = region && region.map((_, i) => region[other(i)]);
  redraw();
}

// --- Regions -------------------------------------------------------------------------------------------------------

const classAt = ({ x, y }) => map[clamp(Math.floor(y), 0, height - 1) * width + clamp(Math.floor(x), 0, width - 1)];

// What a round brush covers on its way: discs along the line, an eighth of a diameter apart.
function trail(from, to, radius) {
  const rows = new Map();
  const cover = (row, start, end) => {
    const [first, last] = rows.get(row) ?? [start, end];
    rows.set(row, [Math.min(first, start), Math.max(last, end)]);
  };
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 4)));
  for (let i = 0; i <= steps; i++) {
    const x = from.x + ((to.x - from.x) * i) / steps, y = from.y + ((to.y - from.y) * i) / steps;
    cover(Math.floor(y), Math.floor(x), Math.floor(x) + 1); // a brush of one pixel always paints the one it is on
    for (let row = Math.floor(y - radius); row <= y + radius; row++) {
      const half = Math.sqrt(radius * radius - (row + 0.5 - y) ** 2);
      if (half >= 0) cover(row, Math.ceil(x - half - 0.5), Math.floor(x + half - 0.5) + 1);
    }
  }
  return Array.from(rows, ([row, [start, end]]) => [row, start, end]);
}

// The inside of a closed outline, by winding: loops that cross themselves leave no holes.
function inside(points) {
  const spans = [];
  const heights = points.map(({ y }) => y);
  const top = Math.max(0, Math.floor(Math.min(...heights)));
  const bottom = Math.min(height, Math.ceil(Math.max(...heights)));
  for (let row = top; row < bottom; row++) {
    const y = row + 0.5, crossings = [];
    points.forEach((a, i) => {
      const b = points[(i + 1) % points.length];
      if (a.y <= y === b.y <= y) return;
      const x = a.x + ((y - a.y) * (b.x - a.x)) / (b.y - a.y);
      crossings.push({ column: Math.ceil(x - 0.5), turn: Math.sign(b.y - a.y) });
    });
    crossings.sort((a, b) => a.column - b.column);
    for (let i = 0, winding = 0; i < crossings.length - 1; i++) {
      winding += crossings[i].turn;
      if (winding) spans.push([row, crossings[i].column, crossings[i + 1].column]);
    }
  }
  return spans;
}

// The pixels of one class that hang together with the one at a place.
function connected({ x, y }) {
  const first = Math.floor(y) * width + Math.floor(x);
  if (x < 0 || y < 0 || x >= width || y >= height) return [];
  const spans = [], seen = new Uint8Array(map.length), pending = [first];
  const open = (i) => map[i] === map[first] && !seen[i];
  while (pending.length) {
    let from = pending.pop();
    if (!open(from)) continue;
    const start = from - (from % width);
    while (from > start && open(from - 1)) from--;
    let to = from;
    for (let above = false, below = false; to < start + width && open(to); to++) {
      seen[to] = 1;
      if (above !== (above = open(to - width)) && above) pending.push(to - width);
      if (below !== (below = open(to + width)) && below) pending.push(to + width);
    }
    spans.push([start / width, from - start, to - start]);
  }
  return spans;
}

// Fill a region that was lifted with the nearest class around it, ring by ring from its rim.
function uncover(spans) {
  const bare = new Uint8Array(map.length), ring = [];
  for (const [row, from, to] of spans) bare.fill(1, row * width + from, row * width + to);
  const around = (i, visit) => {
    if (i % width) visit(i - 1);
    if ((i + 1) % width) visit(i + 1);
    if (i >= width) visit(i - width);
    if (i + width < map.length) visit(i + width);
  };
  for (let i = 0; i < map.length; i++) if (bare[i]) around(i, (j) => bare[j] || ring.push(j));
  for (const i of ring) { // grows while it is walked
    around(i, (j) => {
      if (!bare[j]) return;
      bare[j] = 0;
      map[j] = map[i];
      ring.push(j);
    });
  }
  for (let i = 0; i < map.length; i++) if (bare[i]) map[i] = 0; // the region was the whole map
}
