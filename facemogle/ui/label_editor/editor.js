// Gestures, keys and buttons, and how it all starts.

const KEYBOARD_STEP = 4; // arrow keys move by a quarter of the brush

let gesture = null; // { tool, pointer } while a pointer, or the space bar, is down
let steering = true; // by keys; false once a pointer is over the map
let holding = false; // the space bar, to pan

// --- Gestures: capture keeps a stroke that leaves the canvas ------------------------------------------------------

// The region that may change is no class to move or pick.
const currentTool = () => tools[painting() && ["move", "pick", "pencil"].includes(controls.tool.value) ? "brush" : controls.tool.value];

function begin(tool, pointer, at, event) {
  say(""); // what was said of the step before
  outlineClass(null);
  gesture = { tool, pointer };
  moveCursor(at, tool);
  tool.down(at, event);
}

function finish() {
  if (!gesture) return;
  end();
  settle();
  moveCursor(position, currentTool());
}

function abandon() {
  if (!gesture) return;
  end();
  show(current);
}

function end() {
  const { tool } = gesture;
  gesture = null;
  tool.up();
  trace([]);
}

const fingers = new Map(); // pointer -> its last event: two of them zoom and pan

function pinch(event) {
  const ends = () => Array.from(fingers.values());
  const span = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  const centre = ([a, b]) => locate({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 });
  const before = span(ends()), from = centre(ends());
  fingers.set(event.pointerId, event);
  zoomAbout(from, span(ends()) / Math.max(1, before), centre(ends()));
}

// The wheel, the left or only button, and a pen's other end.
const toolOf = ({ button, altKey }) =>
  holding || button === 1 ? hand : button === 5 ? tools.eraser : altKey ? picker : currentTool();

// On the sheet, so that the corners of the frame take part.
sheet.addEventListener("pointerdown", (event) => {
  if (![0, 1, 5].includes(event.button)) return;
  event.preventDefault();
  const touch = event.pointerType === "touch";
  if (touch && gesture && !fingers.has(gesture.pointer)) return; // the hand that holds the pen
  steering = false;
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  if (touch) fingers.set(event.pointerId, event);
  if (fingers.size === 2) abandon();
  if (gesture || fingers.size > 1) return;
  begin(toolOf(event), event.pointerId, locate(event), event);
});

canvas.addEventListener("pointermove", (event) => {
  if (fingers.size === 2 && fingers.has(event.pointerId)) return pinch(event);
  if (gesture && event.pointerId !== gesture.pointer) return;
  steering = false;
  const points = gesture ? event.getCoalescedEvents?.() ?? [] : [];
  for (const point of points.length ? points : [event]) gesture?.tool.move(locate(point), event);
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
sheet.addEventListener("wheel", (event) => {
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
  chosen(group);
}

function chosen(group) {
  if (["tool", "mirror", "lock", "region"].includes(group)) drop();
  if (["unsure", "differing", "region"].includes(group)) remark();
  if (group === "class") classChosen();
  if (group === "class") outlineClass(null);
  if (group === "lock") lockBoxes.forEach((box, classId) => (locked[classId] = Number(box.checked)));
  if (group === "hide") see((classId) => !hideBoxes[classId].checked);
  moveCursor(position, currentTool());
}

const grow = (factor) => Math.round(diameter() * factor + Math.sign(factor - 1));

const keys = {
  "[": () => (lifted ? scale(1 / GROWTH) : setSize(grow(1 / 1.15))),
  "]": () => (lifted ? scale(GROWTH) : setSize(grow(1.15))),
  b: () => choose("tool", "brush"),
  e: () => choose("tool", "eraser"),
  f: () => choose("tool", "fill"),
  l: () => choose("tool", "lasso"),
  p: () => choose("tool", "pencil"),
  i: () => choose("tool", "pick"),
  v: () => choose("tool", "move"),
  m: () => controls.mirror.click(),
  s: () => solo(chosenClass()),
  r: () => changing() && controls.region.click(),
  "+": () => zoomAbout(position ?? middle(), 1.5),
  "-": () => zoomAbout(position ?? middle(), 1 / 1.5),
};

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
    gesture?.tool.move(to, event);
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
  else if (key === "escape") drop();
  else if (classOfKey(event)) choose("class", classOfKey(event));
  else if (keys[key]) keys[key]();
  else if (event.target === canvas) steer(event);
});
canvas.addEventListener("keyup", (event) => event.key === " " && rest());
canvas.addEventListener("blur", rest);

// --- Buttons, and the start ------------------------------------------------------------------------------------

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", ({ target }) => chosen(target.name));
controls.size.addEventListener("input", () => setSize(controls.size.value));
controls.undo.addEventListener("click", undo);
controls.redo.addEventListener("click", redo);
controls.flip.addEventListener("click", () => change(flip));
controls.closer.addEventListener("click", keys["+"]);
controls.further.addEventListener("click", keys["-"]);
controls.fit.addEventListener("click", () => look(1, 0, 0));
controls.clear.addEventListener("click", () => change(() => show({ height, width, runs: [0, height * width] })));
controls.reset.addEventListener("click", () => change(() => show(loaded)));

watch("value", receive);
watch("backdrop", lay);
for (const name of ["source", "unsure", "differing"]) watch(name, refit);
const draft = kept();
receive();
lay();
choose("class", "13");
// A value set while the component mounts is taken back by Gradio.
setTimeout(bringBack, 0, draft);
// A look into an expert elsewhere on the page: its class is what one paints with, and its border is shown.
function hearExpert({ detail: expert }) {
  if (!element.isConnected) return document.removeEventListener("facemogle:expert", hearExpert);
  if (expert) choose("class", String(expert - 1));
  outlineClass(expert ? expert - 1 : null);
}
document.addEventListener("facemogle:expert", hearExpert);
canvas.labelMap = () => map.slice(); // for tests and extensions
