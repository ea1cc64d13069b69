// History, gestures, keys, files, and what goes between page and Python.

const MAX_UNDO = 100;
const KEYBOARD_STEP = 4; // arrow keys move by a quarter of the brush
const DRAFT = "facemogle-label-map";

const message = form.querySelector(".message");
const menu = form.querySelector(".menu");

let loaded = null; // what Reset goes back to
let past = [], future = [];
let gesture = null; // { tool, pointer, before } while a pointer, or the space bar, is down
let steering = true; // by keys; false once a pointer is over the map
let holding = false; // the space bar, to pan

// --- History; every change ends in `commit`, which is synchronous: a click on Generate can never overtake it ---

function commit(data) {
  props.value = data;
  controls.undo.disabled = !past.length;
  controls.redo.disabled = !future.length;
  keep(data);
}

function change(edit) {
  finish();
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
  if (gesture || !from.length) return;
  const data = from.pop();
  to.push(encode());
  show(data);
  commit(data);
}

const undo = () => travel(past, future);
const redo = () => travel(future, past);

// --- The draft: storage may be full, blocked or changed by others, and the editor works all the same ------------

function keep(data) {
  try {
    localStorage.removeItem(DRAFT); // an old draft is worse than none
    localStorage.setItem(DRAFT, JSON.stringify(data));
  } catch {}
}

function kept() {
  try {
    const { height, width, runs } = JSON.parse(localStorage.getItem(DRAFT));
    const whole = (number, low, high) => Number.isInteger(number) && number >= low && number <= high;
    const fits = [height, width].every((side) => whole(side, 1, props.max_side)) && runs.length % 2 === 0 &&
      runs.every((number, i) => (i % 2 ? whole(number, 1, height * width) : whole(number, 0, colours.length - 1))) &&
      runs.reduce((sum, number, i) => sum + (i % 2 ? number : 0), 0) === height * width;
    return fits ? { height, width, runs } : null;
  } catch {
    return null;
  }
}

// --- Gestures: capture keeps a stroke that leaves the canvas ------------------------------------------------------

const currentTool = () => tools[controls.tool.value];

function begin(tool, pointer, at, event) {
  gesture = { tool, pointer, before: encode() };
  moveCursor(at, tool);
  tool.down(at, event);
}

function finish() {
  if (!gesture) return;
  const { tool, before } = gesture;
  gesture = null;
  tool.up();
  trace([]);
  remember(before);
  moveCursor(position, currentTool());
}

function abandon() {
  if (!gesture) return;
  const { tool, before } = gesture;
  gesture = null;
  tool.up();
  show(before);
}

const fingers = new Map(); // pointer -> its last event: two of them zoom and pan

function pinch(event) {
  const ends = () => Array.from(fingers.values());
  const span = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  const centre = ([a, b]) => locate({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 });
  const before = span(ends()), from = centre(ends());
  fingers.set(event.pointerId, event);
  const to = centre(ends());
  pan(to.x - from.x, to.y - from.y);
  zoomAbout(from, span(ends()) / Math.max(1, before));
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button > 1) return;
  event.preventDefault();
  steering = false;
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  if (event.pointerType === "touch") fingers.set(event.pointerId, event);
  if (fingers.size === 2) abandon();
  if (gesture || fingers.size > 1) return;
  const tool = holding || event.button === 1 ? hand : event.altKey ? picker : currentTool();
  begin(tool, event.pointerId, locate(event), event);
});

canvas.addEventListener("pointermove", (event) => {
  if (fingers.size === 2 && fingers.has(event.pointerId)) return pinch(event);
  if (gesture && event.pointerId !== gesture.pointer) return;
  steering = false;
  const points = gesture ? event.getCoalescedEvents?.() ?? [] : [];
  for (const point of points.length ? points : [event]) gesture?.tool.move(locate(point));
  const tool = gesture?.tool ?? (holding ? hand : currentTool());
  const at = locate(event);
  if (!gesture) trace(event.shiftKey && last && tool.cursor === "ring" ? [last, at] : []);
  moveCursor(at, tool);
});

function release(event) {
  fingers.delete(event.pointerId);
  if (gesture?.pointer === event.pointerId) finish();
}

for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(name, release);
canvas.addEventListener("pointerleave", () => {
  if (gesture || steering) return;
  trace([]);
  moveCursor(null, currentTool());
});

// At its smallest the map lets the page scroll on.
canvas.addEventListener("wheel", (event) => {
  if (zoom === 1 && event.deltaY > 0) return;
  event.preventDefault();
  if (!gesture) zoomAbout(locate(event), 2 ** (-clamp(event.deltaY, -200, 200) / 200));
}, { passive: false });

// --- Keys ------------------------------------------------------------------------------------------------------

function setSize(size) {
  controls.size.value = size;
  controls.diameter.value = controls.size.value;
  moveCursor(position, currentTool());
}

function choose(group, value) {
  controls[group].value = value;
  moveCursor(position, currentTool());
}

const grow = (factor) => Math.round(diameter() * factor + Math.sign(factor - 1));

const keys = {
  "[": () => setSize(grow(1 / 1.15)),
  "]": () => setSize(grow(1.15)),
  b: () => choose("tool", "brush"),
  e: () => choose("tool", "eraser"),
  f: () => choose("tool", "fill"),
  l: () => choose("tool", "lasso"),
  i: () => choose("tool", "pick"),
  v: () => choose("tool", "move"),
  m: () => controls.mirror.click(),
  "+": () => zoomAbout(position ?? middle(), 1.5),
  "-": () => zoomAbout(position ?? middle(), 1 / 1.5),
};

function classOfKey({ code, shiftKey }) {
  const classId = /^Digit\d$/.test(code) ? Number(code[5]) + (shiftKey ? 10 : 0) : -1;
  return props.classes[classId] ? String(classId) : null;
}

// Space is the keyboard's button: arrows while it is down paint a stroke, draw an outline or move a region.
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function steer(event) {
  const at = position ?? middle();
  if (event.key === " ") {
    if (steering && !gesture) begin(currentTool(), "keyboard", at, event);
    else holding = !steering;
  } else if (event.key in arrows) {
    if (gesture && gesture.pointer !== "keyboard") return;
    const step = Math.max(1, diameter() / KEYBOARD_STEP);
    const [dx, dy] = arrows[event.key];
    const to = { x: clamp(at.x + dx * step, 0.5, width - 0.5), y: clamp(at.y + dy * step, 0.5, height - 0.5) };
    steering = true;
    gesture?.tool.move(to);
    moveCursor(to, currentTool());
    reveal(to);
  } else return;
  event.preventDefault();
}

function rest() {
  holding = false;
  if (gesture?.pointer === "keyboard") finish();
}

form.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
  if (command && key === "z") {
    event.preventDefault();
    if (event.shiftKey) redo();
    else undo();
  } else if (command || event.altKey) return;
  else if (key === "escape") menu.open = false;
  else if (classOfKey(event)) choose("class", classOfKey(event));
  else if (keys[key]) keys[key]();
  else if (event.target === canvas) steer(event);
});
canvas.addEventListener("keyup", (event) => event.key === " " && rest());
canvas.addEventListener("blur", rest);

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

async function start(kind) {
  const answer = await server.start_from(kind);
  loaded = answer.value;
  change(() => show(loaded));
  say(answer.message);
}

const lost = () => say("The server does not answer. Is it still running?", true);

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("pointerdown", (event) => menu.contains(event.target) || (menu.open = false));
form.addEventListener("change", ({ target }) => {
  if (target.name === "lock") locked[target.value] = Number(target.checked);
  if (target.name === "hide") unseen[target.value] = Number(target.checked);
  redraw();
});
menu.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  menu.open = false;
  start(button.value).catch(lost);
});
controls.size.addEventListener("input", () => setSize(controls.size.value));
controls.undo.addEventListener("click", undo);
controls.redo.addEventListener("click", redo);
controls.flip.addEventListener("click", () => change(flip));
controls.closer.addEventListener("click", keys["+"]);
controls.further.addEventListener("click", keys["-"]);
controls.fit.addEventListener("click", () => look(1, 0, 0));
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
const draft = kept();
receive();
choose("class", "13");
// A value set while the component mounts is taken back by Gradio.
setTimeout(() => {
  if (draft && !past.length) change(() => show(draft));
  if (draft && past.length) say("Your last drawing is back. Reset shows the map that was loaded.");
});
canvas.labelMap = () => map.slice(); // for tests and extensions
