// A run as the page holds it, and the numbers drawn from it. Weights lie as in Python: step, expert, row, column.

const EXPERTS = props.experts.length;
const GLOBAL = 0;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// Every half precision number, by its bits.
const HALVES = Float32Array.from({ length: 2 ** 16 }, (_, bits) => {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
});

function readRun(data, number) {
  const bytes = bytesOf(data.weights), [height, width] = data.grid, tokens = height * width;
  const weights = new Float32Array(bytes.length / 2);
  for (let i = 0; i < weights.length; i++) weights[i] = HALVES[bytes[2 * i] | (bytes[2 * i + 1] << 8)];
  const run = { data, number, title: data.title, timesteps: Array.from(data.timesteps), height, width, tokens, weights };
  run.steps = run.timesteps.length;
  const at = (step, expert) => weightsOf(run, step, expert);
  run.means = run.timesteps.map((_, step) => props.experts.map((_, expert) => mean(at(step, expert))));
  run.tops = props.experts.map((_, expert) =>
    Math.max(...run.timesteps.map((_, step) => at(step, expert).reduce((top, weight) => Math.max(top, weight)))));
  run.locality = data.locality?.map((step) => step.map(([inside, outside]) => ({ inside, outside })));
  run.map = data.label_map && readMap(data.label_map);
  run.outlines = run.map && outlinesOf(run.map);
  return run;
}

function readMap({ height, width, runs }) {
  const classes = new Uint8Array(height * width);
  for (let i = 0, start = 0; i < runs.length; i += 2) classes.fill(runs[i], start, (start += runs[i + 1]));
  return { height, width, classes };
}

// The weights of one expert at one step, row by row: a view, not a copy.
function weightsOf({ weights, tokens }, step, expert) {
  const start = (step * EXPERTS + expert) * tokens;
  return weights.subarray(start, start + tokens);
}

const weightAt = ({ weights, tokens }, step, expert, token) => weights[(step * EXPERTS + expert) * tokens + token];

// The largest weight of any expert at any step at one place.
const topAt = (run, token) =>
  Math.max(...run.timesteps.flatMap((_, step) => props.experts.map((_, expert) => weightAt(run, step, expert, token))));

// Places are fractions of the picture's width and height, so that they are the same in runs of other sizes.
const cellAt = ({ height, width }, { x, y }) =>
  ({ row: clamp(Math.floor(y * height), 0, height - 1), column: clamp(Math.floor(x * width), 0, width - 1) });

function tokenAt(run, place) {
  const { row, column } = cellAt(run, place);
  return row * run.width + column;
}

const middleOf = ({ height, width }, { row, column }) => ({ x: (column + 0.5) / width, y: (row + 0.5) / height });

// How many times louder it is inside its class than outside; an expert that was muted says nothing in either.
const ratioText = (inside, outside) => (outside ? (inside / outside).toFixed(2) : inside ? "only inside" : "silent");

// The class in the middle of a token, by its expert; null without a label map.
function expertOfClassAt(run, place) {
  if (!run.map) return null;
  const { x, y } = middleOf(run, cellAt(run, place));
  const { row, column } = cellAt(run.map, { x, y });
  return run.map.classes[row * run.map.width + column] + 1;
}

// Of each token: the expert with the largest weight, the first of equals, and its lead over the second.
function winnersAt(run, step, first) {
  const experts = new Uint8Array(run.tokens), leads = new Float32Array(run.tokens);
  for (let token = 0; token < run.tokens; token++) {
    let best = -1, second = -1;
    for (let expert = first; expert < EXPERTS; expert++) {
      const weight = weightAt(run, step, expert, token);
      if (weight > best) [second, best, experts[token]] = [best, weight, expert];
      else if (weight > second) second = weight;
    }
    leads[token] = best - second;
  }
  return { experts, leads };
}

// The experts that win anywhere, most places first: share of the tokens and mean lead there.
function sharesOf({ experts, leads }) {
  const counts = new Uint32Array(EXPERTS), sums = new Float64Array(EXPERTS);
  experts.forEach((expert, token) => {
    counts[expert]++;
    sums[expert] += leads[token];
  });
  return Array.from(counts, (count, expert) => ({ expert, share: count / experts.length, lead: sums[expert] / count }))
    .filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
}

// The largest lead of a run, once it is asked for.
function topLead(run, first) {
  run.topLeads ??= {};
  run.topLeads[first] ??= Math.max(...run.timesteps.map((_, step) =>
    winnersAt(run, step, first).leads.reduce((top, lead) => Math.max(top, lead))));
  return run.topLeads[first];
}

// Runs may take other steps: the one whose noise is nearest.
function stepLike({ timesteps }, timestep) {
  const far = timesteps.map((other) => Math.abs(other - timestep));
  return far.indexOf(Math.min(...far));
}

// Experts of the classes by their ratio, means over the steps; without an inside or an outside the ratio is NaN.
function ranking({ locality, steps }) {
  const over = (expert, side) => {
    const values = locality.map((step) => step[expert - 1][side]);
    return values[0] === null ? null : values.reduce((sum, value) => sum + value, 0) / steps;
  };
  const rows = props.experts.map((_, expert) => expert).slice(1).map((expert) => {
    const inside = over(expert, "inside"), outside = over(expert, "outside");
    return { expert, inside, outside, ratio: inside === null || outside === null ? NaN : inside / outside };
  });
  return rows.sort((a, b) => (Number.isNaN(a.ratio) ? 1 : Number.isNaN(b.ratio) ? -1 : b.ratio - a.ratio));
}
