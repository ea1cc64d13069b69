// The picture's parts, as the label map tells them: one is pointed at, one is chosen, and what it is to be is said.

const form = element.querySelector("form");
const picture = element.querySelector("img");
const canvas = element.querySelector("canvas");
const name = element.querySelector(".name");
const names = element.querySelector(".names");
const phrases = element.querySelector(".phrases");
const { text, back, save } = form.elements;
const submit = element.querySelector("[type=submit]");

const kindOf = new Uint8Array(256); // of a class id, its number among the kinds
props.kinds.forEach(({ classes }, number) => classes.forEach((one) => (kindOf[one] = number)));

let map = null; // of numbers among the kinds
let chosen = -1, pointed = -1;
let nonce = 0;

function receive() {
  const packed = props.map ? JSON.parse(props.map) : null;
  map = packed && new Uint8Array(packed.height * packed.width);
  for (let i = 0, at = 0; packed && i < packed.runs.length; i += 2) {
    map.fill(kindOf[packed.runs[i]], at, at += packed.runs[i + 1]);
  }
  if (packed) Object.assign(canvas, { height: packed.height, width: packed.width });
  if (props.picture) picture.src = props.picture;
  else picture.removeAttribute("src");
  for (const each of [picture, canvas]) each.hidden = !map;
  element.querySelector(".empty").hidden = Boolean(map);
  back.hidden = !props.undoable;
  save.hidden = !props.photo;
  element.querySelector(".honest").textContent = props.photo ? `${props.honest} ${props.fading}` : "";
  const parts = Array.from(props.parts);
  names.replaceChildren(...parts.map((part) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: part, value: part });
    return button;
  }));
  choose(chosen >= 0 && parts.includes(props.kinds[chosen].name) ? chosen : -1);
}

// --- Pointing and choosing -----------------------------------------------------------------------------------------

function draw() {
  if (!map) return;
  const context = canvas.getContext("2d"), { width, height } = canvas;
  const image = context.createImageData(width, height);
  const shown = pointed >= 0 ? pointed : chosen;
  for (let i = 0; shown >= 0 && i < map.length; i++) {
    if (map[i] !== shown) continue;
    const x = i % width;
    const edge = (x && map[i - 1] !== shown) || (x < width - 1 && map[i + 1] !== shown)
      || (i >= width && map[i - width] !== shown) || (i < map.length - width && map[i + width] !== shown);
    if (edge) image.data.set([255, 255, 255, 255], 4 * i);
    else if (pointed >= 0) image.data.set([99, 102, 241, 96], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function choose(kind) {
  chosen = kind;
  const one = props.kinds[kind];
  for (const button of names.children) button.setAttribute("aria-pressed", String(button.value === one?.name));
  text.placeholder = one ? `${one.name}: what should it be?` : "Choose a part";
  text.setAttribute("aria-label", text.placeholder);
  text.disabled = submit.disabled = !one;
  const said = (one?.phrases ?? []).map((phrase) => [phrase, ""]);
  if (one?.without && map?.includes(kind)) said.unshift([`no ${one.name}`, one.without]);
  phrases.replaceChildren(...said.map(([phrase, to]) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: phrase });
    button.dataset.to = to;
    return button;
  }));
  draw();
}

function kindAt({ clientX, clientY }) {
  const box = canvas.getBoundingClientRect();
  const x = Math.floor(((clientX - box.left) / box.width) * canvas.width);
  const y = Math.floor(((clientY - box.top) / box.height) * canvas.height);
  return map && x >= 0 && y >= 0 && x < canvas.width && y < canvas.height ? map[y * canvas.width + x] : -1;
}

function point(kind, event) {
  name.hidden = kind < 0;
  if (kind >= 0 && event) {
    const box = element.querySelector(".seen").getBoundingClientRect();
    name.textContent = props.kinds[kind].name;
    Object.assign(name.style, { left: `${event.clientX - box.left}px`, top: `${event.clientY - box.top}px` });
  }
  if (kind === pointed) return;
  pointed = kind;
  draw();
}

canvas.addEventListener("pointermove", (event) => point(kindAt(event), event));
canvas.addEventListener("pointerleave", () => point(-1));
canvas.addEventListener("click", (event) => {
  point(-1);
  choose(kindAt(event));
  text.focus({ preventScroll: true });
});
names.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  choose(props.kinds.findIndex((kind) => kind.name === button.value));
  text.focus({ preventScroll: true });
});

// --- What is asked -------------------------------------------------------------------------------------------------

function wish(said, to = "") {
  if (chosen < 0 || (!said.trim() && !to)) return text.focus();
  props.value = { part: props.kinds[chosen].name, text: said, to, nonce: nonce++ };
  trigger("wish");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  wish(text.value);
});
phrases.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.to) return wish("", button.dataset.to);
  text.value = button.textContent;
  wish(text.value);
});
back.addEventListener("click", () => trigger("undo"));
save.addEventListener("click", () => trigger("save"));

watch("saved", () => {
  if (!props.saved) return;
  const { address, file } = JSON.parse(props.saved);
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: file });
  link.click();
});
for (const each of ["picture", "map", "parts", "photo", "fading", "undoable"]) watch(each, receive);
receive();
