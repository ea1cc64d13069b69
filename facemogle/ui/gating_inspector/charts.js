// Charts as text of SVG: small functions of numbers, the same for the page and for a file.

// How things look is written on them, and not in the style sheet: a file of curves stands alone.
const TEXT = 'font-family="system-ui, sans-serif" font-size="11" fill="currentColor"';
const GRID = 'stroke="currentColor" opacity="0.15"';
const EDGE = 'class="edge" fill="none" stroke="currentColor" stroke-width="3.4" opacity="0.45"'; // yellow would vanish on white
const SIDES = {
  inside: { text: "inside its class", look: 'stroke="#6366f1" stroke-width="2.2"' },
  outside: { text: "outside it", look: 'stroke="currentColor" stroke-width="1.5" stroke-dasharray="4 3" opacity="0.75"' },
  all: { text: "everywhere", look: 'stroke="currentColor" stroke-width="1.5" opacity="0.75"' },
};

function percent(share) {
  const hundredths = 100 * share;
  return `${hundredths.toFixed(hundredths === 0 ? 0 : hundredths < 1 ? 2 : 1)}%`;
}

const escaped = (text) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

// The next number that is good to read: 1, 2, 3, 4, 6 or 8 times a power of ten.
function roundUp(top) {
  if (!top) return 0.01; // of an expert that was muted
  const power = 10 ** Math.floor(Math.log10(Math.max(top, 1e-4)));
  return [1, 2, 3, 4, 6, 8, 10].map((digit) => digit * power).find((end) => end >= top * 0.9999);
}

const tickText = (share) => `${Number((100 * share).toPrecision(3))}%`;

// A frame to draw in: `x` of a step, `y` of a share.
function frameOf({ width, height, steps, top, left = 40, right = 8, upper = 6, lower = 18 }) {
  const span = width - left - right;
  const x = (step) => left + (steps > 1 ? (step / (steps - 1)) * span : span / 2);
  const y = (share) => height - lower - (share / top) * (height - lower - upper);
  return { left, right: width - right, upper, bottom: height - lower, x, y, steps, top };
}

function gridOf({ left, right, y, top }, lines) {
  return Array.from({ length: lines + 1 }, (_, line) => (line / lines) * top).map((share) =>
    `<line ${GRID} x1="${left}" x2="${right}" y1="${y(share)}" y2="${y(share)}"/>` +
    `<text opacity="0.7" x="${left - 5}" y="${y(share) + 4}" text-anchor="end">${tickText(share)}</text>`).join("");
}

// A line through values over the steps; of a single step, a short dash.
function lineOf({ x, y }, values, attributes) {
  const points = values.map((value, step) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`);
  const path = points.length > 1 ? `M${points.join("L")}` : `M${points[0]}m-6 0h12`;
  return `<path d="${path}" fill="none" stroke-linejoin="round" stroke-linecap="round" ${attributes}/>`;
}

const boxOf = (width, height) => `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`;
const textAt = (x, y, text, attributes = "") => `<text x="${x}" y="${y}" ${attributes}>${text}</text>`;
const MIDDLE = 'opacity="0.7" text-anchor="middle"';

const svgOf = (width, height, label, content) =>
  `<svg ${boxOf(width, height)} ${TEXT} role="img" aria-label="${escaped(label)}">${content}</svg>`;

const placeFrame = ({ steps }, size) => frameOf({ ...size, steps, right: 92, lower: 34 });
const panelFrame = ({ steps }, size) => frameOf({ ...size, steps, lower: 8 });

// The weights of all experts at one place; the loudest four are named at the end of their lines.
function placeChart(run, token, { width, height, top }) {
  const frame = placeFrame(run, { width, height, top });
  const values = props.experts.map((_, expert) => run.timesteps.map((_, at) => weightAt(run, at, expert, token)));
  const lines = values.map((line, expert) =>
    `<g class="of" data-expert="${expert}">${lineOf(frame, line, EDGE)}` +
    `${lineOf(frame, line, `class="curve" stroke-width="1.8" stroke="${props.experts[expert].line}"`)}</g>`);
  const last = run.steps - 1;
  const loudest = values.map((line, expert) => ({ expert, y: frame.y(line[last]), weight: line[last] }))
    .sort((a, b) => b.weight - a.weight).slice(0, 4);
  loudest.forEach((label, i) => (label.y = Math.max(label.y, i ? loudest[i - 1].y + 13 : 0)));
  const names = loudest.map(({ expert, y }) => textAt(frame.right + 8, y + 4, props.experts[expert].name));
  const ticks = Array.from(new Set([0, Math.floor(last / 2), last]))
    .map((at) => textAt(frame.x(at), frame.bottom + 14, at + 1, MIDDLE));
  const axis = textAt((frame.left + frame.right) / 2, height - 3, "step, from noise to picture", MIDDLE);
  const label = `Weights of the 20 experts at this place over the ${run.steps} steps; the table has the numbers`;
  return svgOf(width, height, label, gridOf(frame, 4) + lines.join("") + names.join("") + ticks.join("") + axis);
}

// What a run has of one expert over the steps: inside and outside of its class, or its mean alone.
function sidesOf(run, expert) {
  if (!run.locality || expert === GLOBAL) return [{ side: "all", values: run.means.map((step) => step[expert]) }];
  return ["inside", "outside"].map((side) => ({ side, values: run.locality.map((step) => step[expert - 1][side]) }))
    .filter(({ values }) => values[0] !== null);
}

const topOfSides = (run, expert) => Math.max(...sidesOf(run, expert).flatMap(({ values }) => values));

function panelContent(run, expert, size) {
  const frame = panelFrame(run, size);
  const lines = sidesOf(run, expert).map(({ side, values }) => lineOf(frame, values, `class="${side}" ${SIDES[side].look}`));
  return gridOf(frame, 2) + lines.join("");
}

function panelChart(run, expert, size) {
  const label = sidesOf(run, expert).map(({ side, values }) =>
    `${SIDES[side].text} from ${percent(values[0])} to ${percent(values[run.steps - 1])}`);
  const text = `${props.experts[expert].name} over the steps: ${label.join("; ")}`;
  return svgOf(size.width, size.height, text, panelContent(run, expert, size));
}

// The kinds of lines that a run's panels have.
const kindsOf = (run) => (run.locality ? ["inside", "outside", "all"] : ["all"]);

const keyOf = (kind, x, y) =>
  `<path d="M${x} ${y - 4}h26" ${SIDES[kind].look}/>${textAt(x + 32, y, SIDES[kind].text)}`;

// Lines of whole words, of so many letters at most where a word is no longer.
const wrapped = (text, letters) => text.match(new RegExp(`.{1,${letters}}(\\s|$)|\\S+`, "g")) ?? [];

// All panels in one file that stands alone, on white.
function curvesFile(run, topOf) {
  const heading = `Mean weight of each expert over the ${run.steps} steps, from noise (left) to picture`;
  const lines = [heading, ...wrapped(run.title, 140)], keyLine = 20 + lines.length * 16;
  const columns = 5, head = keyLine + 24, size = { width: 200, height: 120 }, pitch = size.height + 24;
  const width = columns * size.width + 20, height = Math.ceil(EXPERTS / columns) * pitch + head;
  const panels = props.experts.map(({ name, colour }, expert) => {
    const x = 10 + (expert % columns) * size.width, y = head + Math.floor(expert / columns) * pitch;
    return `<g transform="translate(${x} ${y})"><rect x="40" y="-10" width="9" height="9" fill="${colour}" stroke="#888"/>` +
      `${textAt(54, -1, name)}${panelContent(run, expert, { ...size, top: topOf(expert) })}</g>`;
  });
  const keys = kindsOf(run).map((kind, i) => keyOf(kind, 44 + i * 150, keyLine));
  const title = escaped(run.title), texts = lines.map((line, i) => textAt(44, 20 + i * 16, escaped(line)));
  return `<svg xmlns="http://www.w3.org/2000/svg" ${boxOf(width, height)} color="#222" ${TEXT}><title>${title}</title>` +
    `<rect width="100%" height="100%" fill="#fff"/>${texts.join("")}${keys.join("")}${panels.join("")}</svg>`;
}
