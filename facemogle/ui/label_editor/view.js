// What part of the map is in sight, the picture under it, and what lies over it: the brush's ring, the outline being
// drawn, the frame around a lifted region. And what is said below.

const MAX_ZOOM = 16;

const stage = form.querySelector(".stage");
const sheet = form.querySelector(".sheet");
const cursor = form.querySelector(".cursor");
const outline = form.querySelector(".outline path");
const frame = form.querySelector(".frame");
const backdrop = form.querySelector(".backdrop");
const message = form.querySelector(".message");

let zoom = 1, left = 0, top = 0; // of the sheet: its size and place in sizes of the stage
let position = null; // of the brush, in map pixels

const diameter = () => Number(controls.size.value);

function resized() {
  stage.style.setProperty("--proportion", width / height);
  outline.ownerSVGElement.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawLines();
  look(1, 0, 0);
}

function look(newZoom, newLeft, newTop) {
  zoom = clamp(newZoom, 1, MAX_ZOOM);
  left = clamp(newLeft, 1 - zoom, 0);
  top = clamp(newTop, 1 - zoom, 0);
  sheet.style.width = sheet.style.height = `${100 * zoom}%`;
  sheet.style.left = `${100 * left}%`;
  sheet.style.top = `${100 * top}%`;
  controls.fit.textContent = `${Math.round(100 * zoom)}%`;
  controls.fit.ariaLabel = `${controls.fit.textContent}, show all`;
}

// Zoom by a factor about a place, which stays where it is in the window, or comes to lie where another was.
function zoomAbout(place, factor, where = place) {
  const next = clamp(zoom * factor, 1, MAX_ZOOM);
  look(next, left + (where.x * zoom - place.x * next) / width, top + (where.y * zoom - place.y * next) / height);
}

const pan = (dx, dy) => look(zoom, left + (dx / width) * zoom, top + (dy / height) * zoom); // by map pixels
const middle = () => ({ x: ((0.5 - left) / zoom) * width, y: ((0.5 - top) / zoom) * height });

function locate({ clientX, clientY }) {
  const box = canvas.getBoundingClientRect();
  return { x: ((clientX - box.left) / box.width) * width, y: ((clientY - box.top) / box.height) * height };
}

// Pan until a place is in sight, with a tenth of the stage to spare.
function reveal({ x, y }) {
  const into = (offset, share) => clamp(offset, 0.1 - share * zoom, 0.9 - share * zoom);
  look(zoom, into(left, x / width), into(top, y / height));
}

function moveCursor(at, tool) {
  position = at;
  const ring = tool.cursor === "ring";
  cursor.hidden = !at || !(ring || steering);
  canvas.style.cursor = ring ? "none" : tool.cursor;
  if (!at) return;
  cursor.style.left = `${(100 * at.x) / width}%`;
  cursor.style.top = `${(100 * at.y) / height}%`;
  cursor.style.width = `${(100 * (ring ? diameter() : 0)) / width}%`;
}

function trace(points) {
  outline.setAttribute("d", points.length ? `M${points.map(({ x, y }) => `${x} ${y}`).join("L")}` : "");
}

function frameAround(box) { // in map pixels
  frame.hidden = !box;
  if (!box) return;
  const { left, top, wide, tall } = box;
  const insets = {
    left: left / width, right: 1 - (left + wide) / width, top: top / height, bottom: 1 - (top + tall) / height,
  };
  for (const [side, share] of Object.entries(insets)) frame.style.setProperty(`--${side}`, `${100 * share}%`);
}

// --- The picture under the map: the map turns translucent over it, and is what it was --------------------------

function lay() {
  seeThrough(false);
  say("");
  if (props.backdrop) backdrop.src = props.backdrop;
  else backdrop.removeAttribute("src");
}

function seeThrough(isPicture) {
  backdrop.hidden = controls.opacity.disabled = !isPicture;
  controls.percent.value = `${controls.opacity.value}%`;
  alpha = isPicture ? Math.round(2.55 * controls.opacity.value) : 255;
  redraw();
}

backdrop.addEventListener("load", () => seeThrough(true));
backdrop.addEventListener("error", () => say("The picture under the map cannot be shown.", true));
controls.opacity.addEventListener("input", () => seeThrough(true));

// ---------------------------------------------------------------------------------------------------------------

function say(text, failed = false) {
  message.textContent = text;
  message.classList.toggle("failed", failed);
}
