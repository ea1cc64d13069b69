// What Python says of the prompt, and what the map in the page says to it.

const PAUSE = 200; // milliseconds, after a change of the map

const list = element.querySelector("ul");
const count = element.querySelector("p");
let timer;

// Of the things that one may wear: those that only the prompt has, and those that only the map has.
function apart(worn, named, inMap, anyPrompt) {
  return {
    missing: worn.filter(({ id }) => named.includes(id) && !inMap.has(id)),
    unsaid: anyPrompt ? worn.filter(({ id }) => !named.includes(id) && inMap.has(id)) : [],
  };
}

// A word with another in its place, wherever it stands alone.
function replaced(prompt, word, by) {
  const quoted = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return prompt.replace(new RegExp(`(?<![\\p{L}\\p{N}])${quoted}(?![\\p{L}\\p{N}])`, "giu"), () => by);
}

const typed = () => document.querySelector("#prompt textarea")?.value ?? "";
const inMap = () => new Set(document.querySelector("#label-editor canvas")?.labelMap?.() ?? []);

function note(text, label, act) {
  const item = document.createElement("li");
  item.append(`${text} `);
  if (label) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", act);
    item.append(button);
  }
  return item;
}

const ask = (prompt) => trigger("replace", { prompt });

function show() {
  const { unknown = [], named = [], count: counted = "", full = false } = props.value ?? {};
  const map = inMap(), anyMap = map.size > 1; // a blank map asks for nothing
  const { missing, unsaid } = anyMap ? apart(props.worn, named, map, typed().trim()) : { missing: [], unsaid: [] };
  const notes = [
    ...unknown.map(([word, nearest]) => note(`It does not know “${word}”.`, nearest, () => ask(replaced(typed(), word, nearest)))),
    ...missing.map(({ name, said }) =>
      note(`The prompt names ${said}, and the map has none.`, `Add ${said} to the map`, () => trigger("wear", { name }))),
    ...unsaid.map(({ said }) =>
      note(`The prompt does not name the ${said.replace(/^an? /, "")} of the map.`, `Say “${said}”`, () =>
        ask(`${typed().trim().replace(/[.,;]+$/, "")}, ${said}`))),
  ];
  const text = notes.map(({ textContent }) => textContent).join();
  if (list.dataset.text !== text) list.replaceChildren(...notes); // a button under the pointer stays what it is
  list.dataset.text = text;
  count.textContent = counted;
  count.classList.toggle("full", full);
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(show, PAUSE);
}

watch("value", show);
document.addEventListener("labelmap", soon);
show();
