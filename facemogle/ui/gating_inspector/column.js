// One run on the page. Two of them stand side by side to be compared; `look` is what they share.

const look = { view: "experts", step: 0, expert: GLOBAL, large: false, place: { x: 0.5, y: 0.5 }, common: false, fade: true, local: false };
const rowOf = ([name, ...cells]) => `<tr><th scope="row">${name}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
const nameOf = (expert) => props.experts[expert].name;
const chipped = (expert) => `<i style="background: ${props.experts[expert].chip}"></i>${nameOf(expert)}`;

function makeColumn(template) {
  const root = template.content.firstElementChild.cloneNode(true);
  const find = (selector) => root.querySelector(selector), all = (selector) => Array.from(root.querySelectorAll(selector));
  const cards = all(".card"), strips = all(".bars .strip"), numbers = all(".bars .number"), panels = all(".cells .chart");
  const large = find(".large .picture"), picture = { canvas: large.querySelector("canvas"), outline: large.querySelector("svg") };
  let run = null, step = 0;
  const drawn = new WeakMap(); // what an element shows, so that it is not made again for every step

  function once(target, key, make) {
    if (drawn.get(target) === key) return;
    drawn.set(target, key);
    make(target);
  }

  const write = (target, html) => once(target, html, () => (target.innerHTML = html));

  function show(newRun) {
    run = newRun;
    find(".title").textContent = run.title;
    root.setAttribute("aria-label", run.title);
    find(".thumb").src = run.data.thumb;
    for (const image of all(".picture img")) image.src = run.data.face;
    for (const frame of all(".picture")) frame.style.setProperty("--proportion", run.width / run.height);
    cards.forEach((card, expert) => showOutline(card.querySelector("svg"), run, expert));
    find(".ranks table").hidden = !run.locality;
    find(".ranks .none").hidden = Boolean(run.locality);
    find(".ranks tbody").innerHTML = run.locality ? ranking(run).map(rankRow).join("") : "";
    find(".panels .key").innerHTML = kindsOf(run).map((kind) =>
      `<svg width="140" height="18" ${TEXT} role="img" aria-label="${SIDES[kind].text}">${keyOf(kind, 0, 13)}</svg>`).join("");
  }

  function rankRow({ expert, inside, outside }) {
    const local = inside === null ? "absent" : outside === null ? "everywhere" : ratioText(inside, outside);
    const cell = (share) => (share === null ? "–" : percent(share));
    return rowOf([chipped(expert), cell(inside), cell(outside), local]);
  }

  function draw(scales) {
    step = stepLike(run, scales.timestep);
    const widths = { chart: find(".curves .chart").clientWidth, panel: panels[0].clientWidth }; // before anything is changed
    write(find("header .when"), `Step ${step + 1} of ${run.steps}, timestep ${Math.round(run.timesteps[step])}`);
    ({ experts: drawExperts, winners: drawWinners, steps: drawSteps })[look.view](scales, widths.panel);
    if (look.view !== "steps") drawPlace(scales, widths.chart);
  }

  function drawExperts(scales) {
    cards.forEach((card, expert) => {
      paintWeights(card.querySelector("canvas"), run, weightsOf(run, step, expert), scales.tops[expert]);
      write(card.querySelector("b"), percent(run.means[step][expert]));
      once(card, expert === look.expert, () => {
        card.setAttribute("aria-pressed", expert === look.expert);
        card.tabIndex = expert === look.expert ? 0 : -1;
      });
    });
    const { expert } = look, { tops } = scales;
    write(find(".maps .scale"), look.common ? weightBar(tops[expert]) : colourBar((share) => `${100 * share}%`, OWN_SCALE));
    paintWeights(picture.canvas, run, weightsOf(run, step, expert), tops[expert]);
    drawOutline(expert);
    write(find(".large .scale"), weightBar(tops[expert]));
    write(find(".note"), `<b>${chipped(expert)}</b> ${noteOn(expert)}`);
    write(find(".who"), chipped(expert));
    for (const button of all(".steer button")) {
      const is = steered[button.value](expert);
      once(button, is, () => button.setAttribute("aria-pressed", is));
    }
  }

  const drawOutline = (expert) =>
    once(picture.outline, `${run.number} ${expert}`, () => showOutline(picture.outline, run, expert));

  function noteOn(expert) {
    const weight = `Mean weight ${percent(run.means[step][expert])}`;
    if (expert === GLOBAL) return `${weight}. It reads the whole map, and has no class of its own.`;
    if (!run.locality) return `${weight}. This run had no label map.`;
    const { inside, outside } = run.locality[step][expert - 1];
    if (inside === null) return `${weight}. Its class is absent from the map, and still it has a say.`;
    if (outside === null) return `${weight}. Its class fills the whole map.`;
    return `${weight}: inside its class ${percent(inside)}, outside ${percent(outside)}, ratio ${ratioText(inside, outside)}.`;
  }

  function drawWinners(scales) {
    const winners = winnersAt(run, step, scales.first);
    paintWinners(picture.canvas, run, winners, look.fade ? scales.lead : null);
    drawOutline(null);
    write(find(".large .scale"), "");
    write(find(".note"), "Colour: the expert with the largest weight." +
      (look.fade ? ` Solid where it leads the second by ${percent(scales.lead)}, faint where it is close.` : ""));
    write(find(".legend caption"), `Who decides at step ${step + 1}`);
    write(find(".legend tbody"), sharesOf(winners).map(({ expert, share, lead }) =>
      rowOf([chipped(expert), stripOf(expert, share), percent(share), percent(lead)])).join(""));
  }

  const stripOf = (expert, share) =>
    `<span class="strip" style="--colour: ${props.experts[expert].colour}; --share: ${100 * share}%"></span>`;

  function drawPlace(scales, width) {
    const { row, column } = cellAt(run, look.place), token = row * run.width + column;
    const weights = props.experts.map((_, expert) => weightAt(run, step, expert, token));
    const loudest = weights.indexOf(Math.max(...weights)), own = expertOfClassAt(run, look.place);
    write(find(".bars caption"), `<b>Row ${row + 1}, column ${column + 1}</b> of ${run.height}×${run.width}` +
      `${own === null ? "" : `, ${nameOf(own)} in the map`}. Loudest: ${nameOf(loudest)}`);
    weights.forEach((weight, expert) => {
      const share = `${((100 * weight) / scales.place).toFixed(1)}%`;
      once(strips[expert], share, () => strips[expert].style.setProperty("--share", share));
      write(numbers[expert], percent(weight));
    });
    once(find(".large .token"), `${run.number} ${token}`, ({ style }) => {
      [style.left, style.top, style.width, style.height] =
        [column / run.width, row / run.height, 1 / run.width, 1 / run.height].map((share) => `${100 * share}%`);
    });
    large.setAttribute("aria-label", `${look.view === "winners" ? "Who decides where" : `Where ${nameOf(look.expert)} speaks`}. ` +
      `Arrow keys move the place: row ${row + 1}, column ${column + 1}, loudest ${nameOf(loudest)}, ${percent(weights[loudest])}`);
    if (!width) return;
    const chart = find(".curves .chart"), size = { width, height: width > 520 ? 340 : 250, top: scales.place };
    once(chart, `${run.number} ${token} ${scales.place} ${width}`, () => (chart.innerHTML = placeChart(run, token, size) + NOW));
    moveNow(chart, placeFrame(run, size));
  }

  function drawSteps(scales, width) {
    if (!width) return;
    panels.forEach((panel, expert) => {
      const size = { width, height: Math.round(clamp(width * 0.55, 76, 120)), top: scales.panels[expert] };
      once(panel, `${run.number} ${size.top} ${width}`, () => (panel.innerHTML = panelChart(run, expert, size) + NOW));
      moveNow(panel, panelFrame(run, size));
      write(panel.previousElementSibling.querySelector("b"), panelNote(expert));
    });
  }

  function panelNote(expert) {
    const { inside, outside } = run.locality?.[step][expert - 1] ?? {};
    if (inside === null) return "absent";
    return inside === undefined || outside === null ? "" : outside ? `×${ratioText(inside, outside)}` : ratioText(inside, outside);
  }

  const moveNow = (chart, frame) => (chart.querySelector(".now").style.transform = `translateX(${frame.x(step)}px)`);

  return { root, large, cards, show, draw, run: () => run, step: () => step, message: find(".message"), menu: find(".menu") };
}

const NOW = '<div class="now"></div>'; // over a chart, where the present step is
const OWN_SCALE = "of the expert's largest weight in the run";
const weightBar = (top) => colourBar((share) => percent(share * top), "weight");

// Five numbers under the colours from 0 to the end of the scale.
function colourBar(textOf, unit) {
  const numbers = [0, 0.25, 0.5, 0.75, 1].map((share) => `<span>${textOf(share)}</span>`).join("");
  return `<div class="ramp" style="background: ${RAMP}"></div><div class="numbers">${numbers}</div><p>${unit}</p>`;
}
