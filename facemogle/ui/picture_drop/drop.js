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

// A PNG with settings of ours in it, which the server must look into; any other file is sent but once.
async function carriesSettings(file) {
  const head = new TextDecoder("latin1").decode(await file.arrayBuffer());
  return head.startsWith("PNG", 1) && head.includes("iTXtfacemogle\0");
}

async function answerTo(file) {
  if (file.size > props.max_file_bytes) {
    return { error: `${file.name} is larger than ${props.max_file_bytes / 2 ** 20} MB. Scale the picture down.` };
  }
  const url = await read(file).catch(() => null);
  if (!url) return { error: `The browser cannot read ${file.name}. Is it a file, and still there?` };
  const contents = { name: file.name, file: url.slice(url.indexOf(",") + 1) };
  if (props.photos && !(await carriesSettings(file))) return { photo: contents, message: "" };
  const answer = await server.open_picture(contents).catch(() => null);
  return answer ?? { error: "The server does not answer. Is it still running?" };
}

async function open(file) {
  const number = ++latest;
  say(`Reading ${file.name} …`);
  const answer = await answerTo(file);
  if (number !== latest) return;
  if (answer.error) return say(answer.error, true);
  say(answer.message);
  props.value = answer.photo ?? answer.ok;
  trigger(answer.photo ? "photo" : "restore");
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
