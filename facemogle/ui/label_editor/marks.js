// What is marked over the map: where the parser was unsure, where two parsers differ, and where the picture under the
// map may change. A mark is 1 for each pixel that it covers; the page shows it as a path. The map keeps only `region`.

const marks = form.querySelector(".marks");
const HATCHED_SIDE = 512; // of the longer side, in the patterns' own units

let source = null; // the label map that belongs to the picture under the map; what follows is for that picture
let unsure = null, differing = null;
let marked = null; // the label map that these are of: the source, or one that was read from a drawing
let region = null; // painted: where the picture may change; null: where the map differs from its source, and around
let outlined = null; // a class whose border is shown, until another is chosen or something is drawn
let offer = null; // that, until one of them changes

const changing = () => form.dataset.edit === "on" && Boolean(source);
const painting = () => changing() && controls.region.checked; // the region, and no classes
const free = () => region ?? offered();

// --- The region that the maps offer: the same as editing.edit_region ---------------------------------------------

function offered() {
  const changed = () => Uint8Array.from(map, (classId, i) => Number(classId !== source[i]));
  return (offer ??= spread(changed(), props.grow * Math.min(height, width)));
}

// All within a distance of a mark: a disc about every pixel of its rim.
function spread(mark, reach) {
  const near = mark.slice();
  for (let i = 0; i < mark.length; i++) {
    const x = i % width, y = (i - x) / width;
    const inner = mark[i - 1] && mark[i + 1] && mark[i - width] && mark[i + width];
    if (!mark[i] || inner) continue;
    for (let row = Math.max(0, Math.ceil(y - reach)); row <= Math.min(height - 1, y + reach); row++) {
      const half = Math.floor(Math.sqrt(reach * reach - (row - y) ** 2)), start = row * width;
      near.fill(1, start + Math.max(0, x - half), start + Math.min(width, x + half + 1));
    }
  }
  return near;
}

// --- What Python sends, at the map's size --------------------------------------------------------------------------

function refit() {
  [source, unsure, differing] = [props.source, props.unsure, props.differing].map(fitted);
  marked = source;
  remark();
}

// A map was opened, with the regions that are doubtful in it or without.
function doubt(data) {
  refit();
  if (data) [marked, unsure, differing] = [map.slice(), expand(data.runs, map.length), null];
}

function fitted(text) {
  if (!text) return null;
  const data = JSON.parse(text), values = expand(data.runs, data.height * data.width);
  return Uint8Array.from(map, (_, i) => {
    const x = i % width, y = (i - x) / width;
    const row = Math.floor(((y + 0.5) * data.height) / height), column = Math.floor(((x + 0.5) * data.width) / width);
    return values[row * data.width + column];
  });
}

// --- Drawing -------------------------------------------------------------------------------------------------------

function remark() {
  offer = null;
  requestAnimationFrame(drawMarks);
}

function drawMarks() {
  controls.automatic.parentElement.hidden = !changing();
  controls.automatic.disabled = !region;
  form.classList.toggle("painting-region", painting());
  marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const scale = Math.max(height, width) / HATCHED_SIDE;
  for (const pattern of marks.querySelectorAll("pattern")) pattern.setAttribute("patternTransform", `scale(${scale})`);
  const mayChange = changing() ? free() : null;
  draw(".unsure", area(stillOpen("unsure", unsure)));
  draw(".differing", area(stillOpen("differing", differing)));
  draw(".free", area(mayChange));
  draw(".rim", border(mayChange));
  draw(".picked", outlined === null ? "" : border(map.map((classId) => Number(classId === outlined))));
}

function outlineClass(classId) {
  if (classId === outlined) return;
  outlined = classId;
  remark();
}

const draw = (name, d) => marks.querySelectorAll(`path${name}`).forEach((path) => path.setAttribute("d", d));

// A mark as a path of one rectangle for each run of a row.
function area(mark) {
  const parts = [];
  for (let start = 0; mark && start < mark.length; start += width) {
    for (let from = 0, to = 0; from < width; from = to + 1) {
      for (to = from; to < width && mark[start + to]; to++);
      if (to > from) parts.push(`M${from} ${start / width}h${to - from}v1H${from}z`);
    }
  }
  return parts.join("");
}

// Where it ends, pixel by pixel. The map's own border is no end.
function border(mark) {
  const parts = [];
  for (let i = 0; mark && i < mark.length; i++) {
    const x = i % width, y = (i - x) / width;
    if (x && mark[i] !== mark[i - 1]) parts.push(`M${x} ${y}v1`);
    if (y && mark[i] !== mark[i - width]) parts.push(`M${x} ${y}h1`);
  }
  return parts.join("");
}

// What is left of a mark, since what a person has painted over is no longer the parser's; told beside its switch.
function stillOpen(name, mark) {
  const control = controls[name], label = control.parentElement;
  label.hidden = !mark;
  if (!mark) return null;
  const open = mark.map((is, i) => is & Number(map[i] === marked[i]));
  label.querySelector("output").value = percent((100 * open.reduce((sum, is) => sum + is, 0)) / open.length);
  return control.checked ? open : null;
}

new MutationObserver(() => chosen("region")).observe(form, { attributes: true, attributeFilter: ["data-edit"] });
controls.automatic.addEventListener("click", () => change(() => (region = null)));
