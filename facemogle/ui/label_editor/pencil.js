// The pencil: lines over the map, which Python makes a map of. They are no part of the map, and outlast its size; the
// browser keeps them as it keeps the map. Of its history they are where a map was made of them.

const PEN = 4, SHEET = 512; // pixels: of a line, and of the drawing's longer side

let lines = []; // each the places that it goes through, in shares of the map's sides
const madeOf = new WeakMap(); // a step of the history -> the lines that went into it

const share = (value, side) => Math.round((1e4 * value) / side) / 1e4;
const placeOf = ({ x, y }) => ({ x: share(x, width), y: share(y, height) });
const mirrored = (points) => points.map(({ x, y }) => ({ x: 1 - x, y }));
const linesName = () => `${drawing}-lines`;

function drawLines() {
  draw(".line", lines.map((points) => `M${points.map(({ x, y }) => `${x * width} ${y * height}`).join("L")}`).join(""));
  controls.sketched.parentElement.hidden = !lines.length;
}

function setLines(newLines) {
  lines = newLines;
  drawLines();
  setTimeout(keep, 0, lines, linesName());
}

function keptLines() {
  try {
    const found = JSON.parse(localStorage.getItem(linesName()));
    const whole = (points) => points.length && points.every(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
    return found.every(whole) ? found : [];
  } catch {
    return [];
  }
}

const pencil = {
  cursor: "crosshair",
  down(at) {
    setLines([...lines, [placeOf(at), placeOf(at)]]);
  },
  move(at) {
    lines.at(-1).push(placeOf(at));
    drawLines();
  },
  up() {
    setLines(controls.mirror.checked ? [...lines, mirrored(lines.at(-1))] : lines);
  },
};

// Black on white, as on paper -> a PNG in base64.
function sheetOf(lines) {
  const scale = SHEET / Math.max(height, width), paper = document.createElement("canvas"), pen = paper.getContext("2d");
  [paper.width, paper.height] = [Math.round(width * scale), Math.round(height * scale)];
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, paper.width, paper.height);
  Object.assign(pen, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  for (const points of lines) {
    pen.beginPath();
    for (const { x, y } of points) pen.lineTo(x * paper.width, y * paper.height);
    pen.stroke();
  }
  return paper.toDataURL("image/png").split(",")[1];
}

async function makeMap() {
  say("Reading the drawing …");
  const read = lines, answer = await server.read_lines(sheetOf(read));
  replace(answer);
  if (answer.error) return;
  madeOf.set(current, read);
  takeLines(current);
}

// Those that went into a step, as it is taken; and given back, as it is undone.
function takeLines(step) {
  const read = madeOf.get(step);
  if (read) setLines(lines.filter((line) => !read.includes(line)));
}

function giveLines(step) {
  const read = madeOf.get(step);
  if (read) setLines([...read, ...lines]);
}

controls.sketched.addEventListener("click", () => makeMap().catch(lost));
controls.unline.addEventListener("click", () => setLines(lines.slice(0, -1)));
controls.unlined.addEventListener("click", () => setLines([]));
