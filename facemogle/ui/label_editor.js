// Body of a function (element, trigger, props, server, upload, watch), run by gr.HTML once the element is there.
// `map` holds the class ids, row by row; the canvas only shows it and is never read back.

const MAX_UNDO = 100;
const KEYBOARD_STEP = 4; // arrow keys move by a quarter of the brush

const form = element.querySelector("form");
const canvas = form.querySelector("canvas");
const cursor = form.querySelector(".cursor");
const message = form.querySelector(".message");
const context = canvas.getContext("2d");
const controls = form.elements;
const colours = Uint32Array.from(props.classes, ({ colour }) => {
  const rgb = parseInt(colour.slice(1), 16);
  return ((255 << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0; // little-endian RGBA
});

let height = 0, width = 0;
let map = new Uint8Array(0);
let picture = null, pixels = null; // the canvas's ImageData and its view as 32-bit colours
let loaded = null; // what Reset goes back to
let past = [], future = [];
let stroke = null; // { pointer, before, last } while a pointer is down
let position = null; // of the brush, in map pixels

// --- Label map <-> run lengths -------------------------------------------------------------------------------

function encode() {
  const runs = [];
  for (let start = 0, end = 0; start < map.length; start = end) {
    while (end < map.length && map[end] === map[start]) end++;
    runs.push(map[start], end - start);
  }
  return { height, width, runs };
}

function show(data) {
  if (data.height !== height || data.width !== width || !picture) {
    ({ height, width } = data);
    canvas.height = height;
    canvas.width = width;
    map = new Uint8Array(height * width);
    picture = context.createImageData(width, height);
    pixels = new Uint32Array(picture.data.buffer);
  }
  for (let i = 0, start = 0; i < data.runs.length; i += 2) {
    map.fill(data.runs[i], start, (start += data.runs[i + 1]));
  }
  draw(0, 0, width, height);
}

function draw(left, top, right, bottom) {
  left = Math.max(0, Math.floor(left));
  top = Math.max(0, Math.floor(top));
  right = Math.min(width, Math.ceil(right));
  bottom = Math.min(height, Math.ceil(bottom));
  for (let y = top; y < bottom; y++) {
    for (let i = y * width + left; i < y * width + right; i++) pixels[i] = colours[map[i]];
  }
  if (right > left && bottom > top) context.putImageData(picture, 0, 0, left, top, right - left, bottom - top);
}

// --- Painting ------------------------------------------------------------------------------------------------

const paintedClass = () => (controls.tool.value === "eraser" ? 0 : Number(controls.class.value));
const diameter = () => Number(controls.size.value);

function dab(x, y, radius, classId) {
  for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(height - 1, Math.floor(y + radius)); row++) {
    const half = Math.sqrt(radius * radius - (row + 0.5 - y) ** 2);
    if (Number.isNaN(half)) continue;
    const from = Math.max(0, Math.ceil(x - half - 0.5));
    const to = Math.min(width, Math.floor(x + half - 0.5) + 1);
    if (from < to) map.fill(classId, row * width + from, row * width + to);
  }
  const column = Math.floor(x), row = Math.floor(y); // a brush of one pixel always paints the one it is on
  if (column >= 0 && column < width && row >= 0 && row < height) map[row * width + column] = classId;
}

function line(from, to) {
  const radius = diameter() / 2;
  const classId = paintedClass();
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 8)));
  for (let i = 0; i <= steps; i++) {
    dab(from.x + ((to.x - from.x) * i) / steps, from.y + ((to.y - from.y) * i) / steps, radius, classId);
  }
  draw(Math.min(from.x, to.x) - radius - 1, Math.min(from.y, to.y) - radius - 1,
       Math.max(from.x, to.x) + radius + 1, Math.max(from.y, to.y) + radius + 1);
}

function fill({ x, y }) {
  const first = Math.floor(y) * width + Math.floor(x);
  const old = map[first], classId = paintedClass();
  if (x < 0 || y < 0 || x >= width || y >= height || old === classId) return;
  const pending = [first];
  while (pending.length) {
    let i = pending.pop();
    const row = i - (i % width);
    while (i > row && map[i - 1] === old) i--;
    for (let above = false, below = false; i < row + width && map[i] === old; i++) {
      map[i] = classId;
      if (above !== (above = map[i - width] === old) && above) pending.push(i - width);
      if (below !== (below = map[i + width] === old) && below) pending.push(i + width);
    }
  }
  draw(0, 0, width, height);
}

function paint(from, to) {
  if (controls.tool.value === "fill") fill(to);
  else line(from, to);
}

// --- History; every change ends in `commit`, which is synchronous: a click on Generate can never overtake it ---

function commit(data) {
  props.value = data;
  controls.undo.disabled = !past.length;
  controls.redo.disabled = !future.length;
}

function change(edit) {
  const before = encode();
  edit();
  remember(before);
}

function remember(before) {
  const after = encode();
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  past = [...past, before].slice(-MAX_UNDO);
  future = [];
  commit(after);
}

function travel(from, to) {
  if (stroke || !from.length) return;
  const data = from.pop();
  to.push(encode());
  show(data);
  commit(data);
}

const undo = () => travel(past, future);
const redo = () => travel(future, past);

// --- Pointer: capture keeps a stroke that leaves the canvas ----------------------------------------------------

function locate(event) {
  const box = canvas.getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * width, y: ((event.clientY - box.top) / box.height) * height };
}

function moveCursor(at) {
  position = at;
  const filling = controls.tool.value === "fill";
  cursor.hidden = !at || filling;
  canvas.style.cursor = filling ? "crosshair" : "none";
  if (!at) return;
  cursor.style.left = `${(100 * at.x) / width}%`;
  cursor.style.top = `${(100 * at.y) / height}%`;
  cursor.style.width = `${(100 * diameter()) / width}%`;
}

canvas.addEventListener("pointerdown", (event) => {
  if (stroke || event.button !== 0) return;
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  const at = locate(event);
  stroke = { pointer: event.pointerId, before: encode(), last: at };
  paint(at, at);
  moveCursor(at);
});

canvas.addEventListener("pointermove", (event) => {
  if (stroke && event.pointerId !== stroke.pointer) return;
  const points = event.getCoalescedEvents?.() ?? [];
  if (stroke && controls.tool.value !== "fill") {
    for (const point of points.length ? points : [event]) {
      const at = locate(point);
      paint(stroke.last, at);
      stroke.last = at;
    }
  }
  moveCursor(locate(event));
});

function endStroke(event) {
  if (!stroke || event.pointerId !== stroke.pointer) return;
  const { before } = stroke;
  stroke = null;
  remember(before);
}

for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(name, endStroke);
canvas.addEventListener("pointerleave", () => stroke || moveCursor(null));

// --- Keys ------------------------------------------------------------------------------------------------------

function setSize(size) {
  controls.size.value = size;
  controls.diameter.value = controls.size.value;
  moveCursor(position);
}

function choose(group, value) {
  controls[group].value = value;
  moveCursor(position);
}

const grow = (factor) => Math.round(diameter() * factor + Math.sign(factor - 1));

const keys = {
  "[": () => setSize(grow(1 / 1.15)),
  "]": () => setSize(grow(1.15)),
  b: () => choose("tool", "brush"),
  e: () => choose("tool", "eraser"),
  f: () => choose("tool", "fill"),
};

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function steer(event) {
  const at = position ?? { x: width / 2, y: height / 2 };
  if (event.key === " ") change(() => paint(at, at));
  else if (event.key in arrows) {
    const step = Math.max(1, diameter() / KEYBOARD_STEP);
    const [dx, dy] = arrows[event.key];
    moveCursor({
      x: Math.min(width - 0.5, Math.max(0.5, at.x + dx * step)),
      y: Math.min(height - 0.5, Math.max(0.5, at.y + dy * step)),
    });
  } else return;
  event.preventDefault();
}

form.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (event.shiftKey) redo();
    else undo();
  } else if (!command && !event.altKey && keys[event.key.toLowerCase()]) keys[event.key.toLowerCase()]();
  else if (!command && event.target === canvas && !stroke) steer(event);
});

// --- Files and buttons -----------------------------------------------------------------------------------------

function say(text, failed = false) {
  message.textContent = text;
  message.classList.toggle("failed", failed);
}

const read = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = reject;
  reader.readAsDataURL(file);
});

async function open(file) {
  const refuse = (reason) => say(`Not opened: ${reason}`, true);
  if (file.size > props.max_file_bytes) {
    return refuse(`The file is larger than ${props.max_file_bytes / 2 ** 20} MB. Save the map as an indexed PNG.`);
  }
  say(`Opening ${file.name} …`);
  const url = await read(file).catch(() => refuse(`The browser cannot read ${file.name}. Is it still there?`));
  if (!url) return;
  const answer = await server.open_label_map(url.slice(url.indexOf(",") + 1));
  if (answer.error) return say(answer.error, true);
  loaded = answer.value;
  change(() => show(loaded));
  say(answer.message);
}

async function save() {
  const answer = await server.save_label_map(encode());
  if (answer.error) return say(answer.error, true);
  const link = document.createElement("a");
  link.href = `data:image/png;base64,${answer.file}`;
  link.download = "label-map.png";
  link.click();
  say("Saved as label-map.png.");
}

const lost = () => say("The server does not answer. Is it still running?", true);

form.addEventListener("submit", (event) => event.preventDefault());
controls.size.addEventListener("input", () => setSize(controls.size.value));
controls.undo.addEventListener("click", undo);
controls.redo.addEventListener("click", redo);
controls.clear.addEventListener("click", () => change(() => show({ height, width, runs: [0, height * width] })));
controls.reset.addEventListener("click", () => change(() => show(loaded)));
controls.open.addEventListener("click", () => controls.file.click());
controls.save.addEventListener("click", () => save().catch(lost));
controls.file.addEventListener("change", () => {
  if (controls.file.files.length) open(controls.file.files[0]).catch(lost);
  controls.file.value = "";
});

// --- Python -> page ----------------------------------------------------------------------------------------------

function receive() {
  loaded = props.value ?? { height: 512, width: 512, runs: [0, 512 * 512] };
  if (picture) change(() => show(loaded));
  else show(loaded);
}

watch("value", receive);
receive();
choose("class", "13");
canvas.labelMap = () => map.slice(); // for tests and extensions
