// The history, the draft, and what goes between page and Python. A change ends in `commit`, which is synchronous: a click
// on Generate can never overtake it.

const MAX_UNDO = 100;
const DRAFT = "facemogle-label-map";

let loaded = null; // what Reset goes back to
let current = null; // the last step of the history; the map too, unless a gesture is under way
let past = [], future = [];

function commit(data) {
  current = data;
  props.value = data;
  remark();
  form.dispatchEvent(new Event("labelmap", { bubbles: true })); // other components look at the map, too
  controls.undo.disabled = !past.length;
  controls.redo.disabled = !future.length;
  setTimeout(keep, 0, data); // storage is slow; Python need not wait for it
}

// The map as a new step of the history, if it is one.
function record() {
  const data = encode();
  if (same(data, current)) return false;
  past = [...past, current].slice(-MAX_UNDO);
  future = [];
  commit(data);
  return true;
}

const sameRuns = (a, b) => a.length === b.length && a.every((number, i) => number === b[i]);
const same = (a, b) => a.height === b.height && a.width === b.width && sameRuns(a.runs, b.runs) &&
  sameRuns(a.region ?? [], b.region ?? []);

// What a person changes is told to Python at once while the page is live, else with the next click on Generate.
function tell() {
  if (form.dataset.live === "on") trigger("stroke");
}

function settle() {
  if (record()) tell();
}

function change(edit) {
  finish();
  say("");
  edit();
  settle();
}

function travel(from, to) {
  if (gesture || !from.length) return;
  say("");
  const data = from.pop();
  to.push(current);
  show(data);
  commit(data);
  tell();
}

const undo = () => travel(past, future);
const redo = () => travel(future, past);

function receive() {
  loaded = props.value || { height: 512, width: 512, runs: [0, 512 * 512] };
  finish();
  say("");
  show(loaded);
  if (current) record();
  else current = loaded;
}

// --- The draft: storage may be full, blocked or changed by others, and the editor works all the same ------------

function keep(data) {
  try {
    localStorage.removeItem(DRAFT); // an old draft is worse than none
    localStorage.setItem(DRAFT, JSON.stringify(data));
  } catch {}
}

function kept() {
  try {
    const { height, width, runs } = JSON.parse(localStorage.getItem(DRAFT));
    const whole = (number, low, high) => Number.isInteger(number) && number >= low && number <= high;
    const fits = [height, width].every((side) => whole(side, 1, props.max_side)) && runs.length % 2 === 0 &&
      runs.every((number, i) => (i % 2 ? whole(number, 1, height * width) : whole(number, 0, colours.length - 1))) &&
      runs.reduce((sum, number, i) => sum + (i % 2 ? number : 0), 0) === height * width;
    return fits ? { height, width, runs } : null;
  } catch {
    return null;
  }
}
