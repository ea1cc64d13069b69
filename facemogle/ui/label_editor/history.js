// The history, the draft, and what goes between page and Python. A change ends in `commit`, which is synchronous: a click
// on Generate can never overtake it.

const MAX_UNDO = 100;
const DRAFT = "facemogle-label-map";

let loaded = null; // what Reset goes back to
let current = null; // the last step of the history; the map too, unless a gesture is under way
let past = [], future = [];
let drawing = props.value?.name ?? DRAFT; // the name under which the browser keeps this map

function commit(data) {
  current = data;
  props.value = data;
  changed();
  setTimeout(keep, 0, data, drawing); // storage is slow; Python need not wait for it
}

function changed() {
  remark();
  form.dispatchEvent(new Event("labelmap", { bubbles: true })); // other components look at the map, too
  controls.undo.disabled = !past.length;
  controls.redo.disabled = !future.length;
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
  if (from === past) giveLines(current);
  const data = from.pop();
  to.push(current);
  show(data);
  commit(data);
  if (from === future) takeLines(current);
  tell();
}

const undo = () => travel(past, future);
const redo = () => travel(future, past);

function receive() {
  loaded = props.value || { height: 512, width: 512, runs: [0, 512 * 512] };
  finish();
  say("");
  show(loaded);
  if ((loaded.name ?? drawing) !== drawing) beginAnew(loaded.name);
  else if (current) record();
  else current = loaded;
}

// A map with another name is another picture's: it has a history and a draft of its own.
function beginAnew(name) {
  drawing = name;
  past = [];
  future = [];
  current = loaded;
  if (props.value !== loaded) props.value = loaded; // the end of a stroke on the one before came in between
  look(1, 0, 0);
  changed();
  setTimeout(bringBack, 0, kept());
}

function bringBack(draft) {
  lines = keptLines();
  drawLines();
  if (draft && !past.length) change(() => show(draft));
  if (draft && past.length) say("Your last drawing is back. Reset shows the map that was loaded.");
}

// --- The draft: storage may be full, blocked or changed by others, and the editor works all the same ------------

function keep(data, name) {
  try {
    localStorage.removeItem(name); // an old draft is worse than none
    localStorage.setItem(name, JSON.stringify(data));
  } catch {}
}

function kept() {
  try {
    const { height, width, runs } = JSON.parse(localStorage.getItem(drawing));
    const whole = (number, low, high) => Number.isInteger(number) && number >= low && number <= high;
    const fits = [height, width].every((side) => whole(side, 1, props.max_side)) && runs.length % 2 === 0 &&
      runs.every((number, i) => (i % 2 ? whole(number, 1, height * width) : whole(number, 0, colours.length - 1))) &&
      runs.reduce((sum, number, i) => sum + (i % 2 ? number : 0), 0) === height * width;
    return fits ? { height, width, runs } : null;
  } catch {
    return null;
  }
}
