// Weights as pictures. A canvas has one pixel for each token and lies over the face; the browser enlarges it.

const VIRIDIS = [
  "#440154", "#48186a", "#472d7b", "#424086", "#3b528b", "#33638d", "#2c728e", "#26828e", "#21918c",
  "#1f9f88", "#27ad81", "#3dbc74", "#5cc863", "#81d34d", "#aadc32", "#d5e21a", "#fde725",
]; // evenly spaced from nothing to most; between them straight lines
const RAMP = `linear-gradient(90deg, ${VIRIDIS.join(", ")})`;
const OPACITY = 0.85; // of the largest weight; of none, a quarter of it

const rgbOf = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

// RGBA for a share of the scale in 256 levels, as 32-bit numbers.
const HEAT = Uint32Array.from({ length: 256 }, (_, level) => {
  const along = (level / 255) * (VIRIDIS.length - 1), before = Math.min(Math.floor(along), VIRIDIS.length - 2);
  const [low, high] = [VIRIDIS[before], VIRIDIS[before + 1]].map(rgbOf);
  const rgb = low.map((value, channel) => Math.round(value + (high[channel] - value) * (along - before)));
  return pack(rgb, (0.25 + (0.75 * level) / 255) * OPACITY);
});
const PAINTS = props.experts.map(({ colour }) => rgbOf(colour));

function pack([red, green, blue], alpha) {
  return ((Math.round(alpha * 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function paint(canvas, { height, width }, colourOf) {
  if (canvas.height !== height || canvas.width !== width || !canvas.painted) {
    canvas.height = height;
    canvas.width = width;
    canvas.painted = canvas.getContext("2d").createImageData(width, height);
  }
  const pixels = new Uint32Array(canvas.painted.data.buffer);
  for (let token = 0; token < pixels.length; token++) pixels[token] = colourOf(token);
  canvas.getContext("2d").putImageData(canvas.painted, 0, 0);
}

function paintWeights(canvas, run, weights, top) {
  canvas.classList.remove("exact");
  const scale = 255 / Math.max(top, 1e-6);
  paint(canvas, run, (token) => HEAT[Math.min(255, Math.round(weights[token] * scale))]);
}

// `top` is the lead that is painted solid; null paints all alike.
function paintWinners(canvas, run, { experts, leads }, top) {
  canvas.classList.add("exact");
  const alpha = (lead) => (top === null ? OPACITY : 0.1 + 0.9 * Math.min(1, lead / Math.max(top, 1e-6)));
  paint(canvas, run, (token) => pack(PAINTS[experts[token]], alpha(leads[token])));
}

// The borders of each class as the path of an SVG whose units are the map's pixels; not along the map's own edge.
function outlinesOf({ height, width, classes }) {
  const paths = props.experts.map(() => []);
  const follow = (lines, length, classAt, draw) => {
    for (let line = 1; line < lines; line++) {
      for (let start = 0, end = 1; end <= length; end++) {
        const one = classAt(line - 1, start), other = classAt(line, start);
        if (end < length && classAt(line - 1, end) === one && classAt(line, end) === other) continue;
        if (one !== other) for (const classId of [one, other]) paths[classId + 1].push(draw(line, start, end));
        start = end;
      }
    }
  };
  follow(height, width, (row, column) => classes[row * width + column], (row, from, to) => `M${from} ${row}H${to}`);
  follow(width, height, (column, row) => classes[row * width + column], (column, from, to) => `M${column} ${from}V${to}`);
  return paths.map((path) => path.join(""));
}

function showOutline(svg, run, expert) {
  const { height, width } = run.map ?? run;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const path of svg.children) path.setAttribute("d", run.map && expert !== null ? run.outlines[expert] : "");
}
