// The visit's runs in IndexedDB, under their number: each is a list of PNG files in base64. It may be full, blocked or
// changed by others, and the page works all the same.

const RUNS = "runs";
const line = element.querySelector(".kept");

// Of files by their number, oldest first: the numbers to let go, so that the newest stay within the bounds.
function surplus(sizes) {
  let count = 0, bytes = 0;
  return sizes.toReversed().filter(({ size }) => (count += 1) > props.max_runs || (bytes += size) > props.max_bytes)
    .map(({ number }) => number);
}

const sizeOf = (files) => files.reduce((sum, file) => sum + file.length * 0.75, 0);

const answer = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

function open() {
  const request = indexedDB.open(`facemogle-runs-${props.checkpoint}`, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(RUNS, { autoIncrement: true });
  return answer(request);
}

async function inStore(mode, work) {
  const database = await open();
  try {
    return await work(database.transaction(RUNS, mode).objectStore(RUNS));
  } finally {
    database.close();
  }
}

async function read() {
  const [numbers, runs] = await inStore("readonly", (store) =>
    Promise.all([answer(store.getAllKeys()), answer(store.getAll())]));
  return runs.map((files, i) => ({ number: numbers[i], files }));
}

async function keep(files) {
  await inStore("readwrite", (store) => answer(store.add(files)));
  const runs = await read();
  const old = surplus(runs.map(({ number, files }) => ({ number, size: sizeOf(files) })));
  await inStore("readwrite", (store) => Promise.all(old.map((number) => answer(store.delete(number)))));
  tell(runs.length - old.length);
}

function tell(count) {
  line.hidden = !count;
  line.querySelector("span").textContent =
    `${count === 1 ? "The last run is" : `The last ${count} runs are`} kept in this browser, and nowhere else.`;
}

async function forget() {
  await inStore("readwrite", (store) => answer(store.clear()));
  tell(0);
  trigger("forget");
}

async function bringBack() {
  const runs = (await read()).map(({ files }) => files).filter(Array.isArray);
  tell(runs.length);
  if (!runs.length) return;
  props.value = runs;
  trigger("back");
}

const ignore = () => {};

line.querySelector("button").addEventListener("click", () => forget().catch(ignore));
// Python's are strings, the page's own are lists of them.
watch("value", () => typeof props.value?.[0] === "string" && keep(Array.from(props.value)).catch(ignore));
// A value set while the component mounts is taken back by Gradio.
setTimeout(() => bringBack().catch(ignore));
