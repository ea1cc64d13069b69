// Files come from the button or from a drop anywhere on the page, which other components may take first.

const LEFT_AFTER = 600; // milliseconds without a word from the browser, which repeats dragover at least every 350

const message = element.querySelector(".message");
const hint = element.querySelector(".hint");
const input = element.querySelector("input");

let latest = 0; // number of the last file, so that a slow answer to one before does not win
let leaving;
let ours = false; // what is dragged comes from the page itself

function say(text, failed = false) {
  message.setAttribute("role", failed ? "alert" : "status");
  message.classList.toggle("failed", failed);
  message.textContent = text;
}

const read = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = reject;
  reader.readAsDataURL(file);
});

async function answerTo(file) {
  if (file.size > props.max_file_bytes) {
    return { error: `${file.name} is larger than ${props.max_file_bytes / 2 ** 20} MB, and no picture made here is.` };
  }
  const url = await read(file).catch(() => null);
  if (!url) return { error: `The browser cannot read ${file.name}. Is it a file, and still there?` };
  const answer = await server.open_picture({ name: file.name, file: url.slice(url.indexOf(",") + 1) });
  return answer ?? { error: "The server does not answer. Is it still running?" };
}

async function open(file) {
  const number = ++latest;
  say(`Reading ${file.name} …`);
  const answer = await answerTo(file);
  if (number !== latest) return;
  if (answer.error) return say(answer.error, true);
  say(answer.message);
  props.value = answer.ok;
  trigger("restore");
}

function hide() {
  clearTimeout(leaving);
  hint.hidden = true;
}

// Of the document, whose listeners outlive this component.
const listening = new AbortController();

function onDocument(name, listener) {
  document.addEventListener(name, (event) => {
    if (element.isConnected) listener(event);
    else listening.abort();
  }, { signal: listening.signal });
}

const foreignFiles = (event) =>
  !ours && !event.defaultPrevented && event.dataTransfer && Array.from(event.dataTransfer.types).includes("Files");

onDocument("dragstart", () => ours = true);
onDocument("dragend", () => ours = false);
onDocument("dragover", (event) => {
  if (!foreignFiles(event)) return hide();
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  hint.hidden = false;
  clearTimeout(leaving);
  leaving = setTimeout(hide, LEFT_AFTER);
});
onDocument("drop", (event) => {
  hide();
  if (!foreignFiles(event)) return;
  event.preventDefault();
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
});

element.querySelector("button").addEventListener("click", () => input.click());
input.addEventListener("change", () => {
  if (input.files.length) open(input.files[0]);
  input.value = "";
});
