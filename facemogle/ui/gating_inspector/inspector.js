// What the person does, what comes from Python, and the files that go out.

const FILM_SECONDS = 6; // the steps from first to last, but each is seen for a while

const form = element.querySelector(".inspector");
const controls = form.elements;
const columns = [makeColumn(form.querySelector("template")), makeColumn(form.querySelector("template"))];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const MIME = { png: "image/png", gif: "image/gif", npz: "application/zip", svg: "image/svg+xml" };

let runs = []; // the last few, newest first
let shown = []; // one or two of them
let pinned = look.place; // where the place is again once the pointer leaves the picture
let playing = null, pending = false;

// --- Drawing: once a frame, whatever happened ----------------------------------------------------------------------

function refresh() {
  if (!pending) requestAnimationFrame(draw);
  pending = true;
}

function draw() {
  pending = false;
  if (!shown.length) return;
  const [{ timesteps, steps }] = shown;
  look.step = clamp(look.step, 0, steps - 1);
  controls.step.value = look.step;
  const when = `Step ${look.step + 1} of ${steps}, ${Math.round(timesteps[look.step] / 10)}% noise`;
  controls.when.value = when;
  controls.step.setAttribute("aria-valuetext", when);
  form.dataset.view = look.view;
  form.toggleAttribute("data-large", look.large);
  for (const part of form.querySelectorAll("[data-views]")) part.hidden = !part.dataset.views.includes(look.view);
  const scales = scalesOf(shown);
  shown.forEach((_, i) => columns[i].draw(scales));
}

// Where colours, bars and axes end: the same for all runs shown, and for all steps.
function scalesOf(shown) {
  const first = look.local ? GLOBAL + 1 : GLOBAL;
  const most = (numberOf) => Math.max(...shown.map(numberOf));
  return {
    first,
    timestep: shown[0].timesteps[look.step],
    tops: endsOf((expert) => most((run) => run.tops[expert])),
    place: roundUp(most((run) => topAt(run, tokenAt(run, look.place)))),
    lead: look.view === "winners" ? most((run) => topLead(run, first)) : 0,
    panels: panelEnds(),
  };
}

function endsOf(topOf) {
  const own = props.experts.map((_, expert) => topOf(expert));
  return look.common ? own.map(() => Math.max(...own)) : own;
}

const panelEnds = () => endsOf((expert) => Math.max(...shown.map((run) => topOfSides(run, expert)))).map(roundUp);

// --- Steps ---------------------------------------------------------------------------------------------------------

function stop() {
  clearInterval(playing);
  playing = null;
  sayPlaying("Play the steps");
}

function play() {
  const { steps } = shown[0];
  if (look.step === steps - 1) look.step = 0;
  playing = setInterval(() => {
    if (look.step < steps - 1) look.step++;
    if (look.step === steps - 1) stop();
    refresh();
  }, clamp((1000 * FILM_SECONDS) / steps, 120, 500));
  sayPlaying("Stop");
  refresh();
}

function sayPlaying(text) {
  controls.play.classList.toggle("playing", playing !== null);
  controls.play.title = text;
  controls.play.setAttribute("aria-label", text);
}

// --- Places: hovering looks, a click stays --------------------------------------------------------------------------

function watchPicture(column) {
  const { large } = column;
  const lookAt = (place, stay) => {
    look.place = place;
    if (stay) pinned = place;
    refresh();
  };
  const locate = ({ clientX, clientY }) => {
    const box = large.getBoundingClientRect();
    return { x: clamp((clientX - box.left) / box.width, 0, 1), y: clamp((clientY - box.top) / box.height, 0, 1) };
  };
  large.addEventListener("pointerdown", (event) => lookAt(locate(event), true));
  large.addEventListener("pointermove", (event) => lookAt(locate(event), event.buttons > 0));
  large.addEventListener("pointerleave", () => lookAt(pinned));
  large.addEventListener("keydown", (event) => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key], run = column.run(), { row, column: across } = cellAt(run, look.place);
    const to = { row: clamp(row + dy, 0, run.height - 1), column: clamp(across + dx, 0, run.width - 1) };
    lookAt(middleOf(run, to), true);
  });
}

// --- Experts -------------------------------------------------------------------------------------------------------

function watchCards({ root, cards }) {
  const grid = root.querySelector(".cards");
  grid.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (!card) return;
    look.expert = Number(card.value);
    look.large = true;
    tellPage("expert", look.expert);
    refresh();
  });
  root.querySelector(".back").addEventListener("click", () => {
    look.large = false;
    draw();
    cards[look.expert].focus();
  });
  grid.addEventListener("keydown", (event) => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key], across = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    cards[cards.indexOf(document.activeElement) + dx + dy * across]?.focus();
  });
}

// --- Steering: the next picture's factors, which the page's sliders hold --------------------------------------------

let factors = {}; // other than 1, by experts' numbers

const steered = {
  mute: (expert) => factors[expert] === 0,
  double: (expert) => factors[expert] === 2,
  solo: (expert) => props.experts.every((_, other) => (factors[other] ?? 1) === Number(other === expert)),
};
const steer = {
  mute: (expert) => ({ ...factors, [expert]: 0 }),
  double: (expert) => ({ ...factors, [expert]: 2 }),
  solo: (expert) => Object.fromEntries(props.experts.map((_, other) => [other, Number(other === expert)])),
};

function tellPage(what, detail) {
  document.dispatchEvent(new CustomEvent(`facemogle:${what}`, { detail }));
}

function hearFactors({ detail }) {
  if (!element.isConnected) return document.removeEventListener("facemogle:factors", hearFactors);
  factors = detail;
  refresh();
}

function watchSteer({ root }) {
  root.querySelector(".steer").addEventListener("click", ({ target }) => {
    const way = target.value, { expert } = look;
    if (!way) return;
    const back = way === "solo" ? {} : { ...factors, [expert]: 1 };
    tellPage("steer", steered[way](expert) ? back : steer[way](expert));
  });
}

// The line of the expert whose row is under the pointer stands out.
function watchBars({ root }) {
  const point = (expert) => {
    for (const line of root.querySelectorAll(".curves .of")) {
      line.classList.toggle("faint", expert >= 0 && Number(line.dataset.expert) !== expert);
    }
  };
  root.querySelector(".bars tbody").addEventListener("pointerover", (event) => point(event.target.closest("tr").sectionRowIndex));
  root.querySelector(".bars tbody").addEventListener("pointerleave", () => point(-1));
}

// --- Files ---------------------------------------------------------------------------------------------------------

function download(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: MIME[name.split(".").pop()] }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function save(column, kind) {
  const say = (text, failed = false) => {
    column.message.textContent = text;
    column.message.classList.toggle("failed", failed);
  };
  const run = column.run(), step = column.step();
  try {
    if (kind === "svg") {
      const ends = panelEnds();
      download(curvesFile(run, (expert) => ends[expert]), "curves.svg");
      return say("Saved as curves.svg.");
    }
    say("Drawing the file …");
    const { locality, thumb, names, ...data } = run.data;
    const answer = await server.export_gating({ data, kind, step, tops: scalesOf(shown).tops });
    if (answer.error) return say(`Not saved: ${answer.error}`, true);
    download(bytesOf(answer.file), answer.name);
    say(`Saved as ${answer.name}.`);
  } catch {
    say("The server does not answer. Is it still running?", true);
  }
}

function watchMenu(column) {
  column.menu.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    column.menu.open = false;
    column.menu.querySelector("summary").focus();
    save(column, button.value);
  });
}

// --- Python -> page ------------------------------------------------------------------------------------------------

function receive() {
  if (!props.value) {
    runs = [];
    return show(".empty");
  }
  if (typeof props.value === "string") return show(".forgotten");
  runs = [readRun(props.value, (runs[0]?.number ?? 0) + 1), ...runs].slice(0, props.max_runs);
  look.step = runs[0].steps - 1;
  arrange();
}

// One of three: nothing yet, no weights of this face, or the weights.
function show(part) {
  for (const other of [".empty", ".forgotten", ".bench"]) form.querySelector(other).hidden = other !== part;
}

function arrange() {
  stop();
  const [newest, ...earlier] = runs, other = earlier.find(({ number }) => number === Number(controls.other.value));
  const { names } = newest.data;
  const choices = earlier.map(({ number, data, title }) => new Option(`${number}: ${names[data.key] ?? title}`, number));
  controls.other.replaceChildren(new Option("nothing", ""), ...choices);
  controls.other.value = other?.number ?? "";
  controls.other.parentElement.hidden = !earlier.length;
  controls.step.max = newest.steps - 1;
  form.querySelector(".time").classList.toggle("still", newest.steps === 1);
  show(".bench");
  shown = other ? [newest, other] : [newest];
  shown.forEach((run, i) => columns[i].show(run));
  form.querySelector(".runs").replaceChildren(...shown.map((_, i) => columns[i].root));
  form.querySelector(".runs").classList.toggle("two", shown.length === 2);
  refresh();
}

for (const column of columns) {
  watchPicture(column);
  watchCards(column);
  watchSteer(column);
  watchBars(column);
  watchMenu(column);
}
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", ({ target }) => {
  if (target === controls.other) return arrange();
  look.view = controls.view.value;
  for (const name of ["common", "fade", "local"]) look[name] = controls[name].checked;
  refresh();
});
controls.again.addEventListener("click", () => trigger("again"));
controls.play.addEventListener("click", () => (playing === null ? play() : stop()));
controls.step.addEventListener("input", () => {
  stop();
  look.step = Number(controls.step.value);
  refresh();
});
new ResizeObserver(refresh).observe(form);
document.addEventListener("facemogle:factors", hearFactors);
tellPage("steer", null); // asks for them
watch("value", receive);
receive();
