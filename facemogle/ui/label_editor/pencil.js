// The pencil: lines over the map, which Python makes a map of. They are no part of the map or its history.

const PEN = 4, SHEET = 512; // pixels: of a line, and of the drawing's longer side

let lines = []; // each the places that it goes through, in map pixels

const mirrored = (points) => points.map(({ x, y }) => ({ x: width - x, y }));

function drawLines() {
  draw(".line", lines.map((points) => `M${points.map(({ x, y }) => `${x} ${y}`).join("L")}`).join(""));
  controls.sketched.parentElement.hidden = !lines.length;
}

function dropLines(kept = []) {
  lines = kept;
  drawLines();
}

const pencil = {
  cursor: "crosshair",
  down(at) {
    dropLines([...lines, [at, at]]);
  },
  move(at) {
    lines.at(-1).push(at);
    drawLines();
  },
  up() {
    if (controls.mirror.checked) dropLines([...lines, mirrored(lines.at(-1))]);
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
    for (const { x, y } of points) pen.lineTo(x * scale, y * scale);
    pen.stroke();
  }
  return paper.toDataURL("image/png").split(",")[1];
}

async function makeMap() {
  say("Reading the drawing …");
  const answer = await server.read_lines(sheetOf(lines));
  replace(answer);
  if (!answer.error) dropLines();
}

controls.sketched.addEventListener("click", () => makeMap().catch(lost));
controls.unline.addEventListener("click", () => dropLines(lines.slice(0, -1)));
controls.unlined.addEventListener("click", () => dropLines());
