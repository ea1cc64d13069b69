// A component's scripts, as the page runs them: parts of one function, here on a page that takes everything and shows
// nothing. What a test needs of the page it sets itself.

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const UI = join(__dirname, "..", "..", "facemogle", "ui");
const EDITOR = ["map", "view", "marks", "move", "pencil", "tools", "history", "palette", "files", "editor"];
const NAMES = Array.from({ length: 19 }, (_, classId) => `class ${classId}`); // of which 3 and 4 are left and right

// Whatever is asked of it is another such thing, unless it was set.
function nothing(known = {}) {
  return new Proxy(function () {}, {
    get(_, name) {
      if (name === Symbol.toPrimitive) return () => "";
      if (name === Symbol.iterator) return function* () {};
      return (known[name] ??= nothing());
    },
    set(_, name, value) {
      known[name] = value;
      return true;
    },
    has: (_, name) => name in known,
    apply: () => nothing(),
  });
}

// -> an object with the `names` of what the scripts declare, as they are at the time.
function load(folder, parts, names, given) {
  const source = parts.map((part) => readFileSync(join(UI, folder, `${part}.js`), "utf8")).join("\n");
  const own = names.map((name) => `get ${name}() { return ${name}; }, set ${name}(value) { ${name} = value; }`);
  return new Function(...Object.keys(given), `${source}\nreturn { ${own.join()} };`)(...Object.values(given));
}

const classes = NAMES.map((name, classId) => (
  { name, colour: "#123456", mirrored: { 3: 4, 4: 3 }[classId] ?? classId }));
const box = () => ({ checked: false, parentElement: nothing() });

// The label editor with a map of rows of digits, such as ["0110", "0220"], and no draft kept in `storage`.
function editor(rows, names, storage = {}) {
  const controls = nothing({
    mirror: { checked: false }, region: box(), unsure: box(), differing: box(), class: { value: "" }, tool: { value: "brush" },
    size: nothing({ value: "2" }), lock: NAMES.map(box), hide: NAMES.map(box), opacity: nothing({ value: "60" }),
  });
  const form = nothing({ elements: controls, dataset: {}, querySelectorAll: () => [] });
  const canvas = nothing({
    getContext: () => ({ createImageData: (width, height) => ({ data: new Uint8ClampedArray(4 * width * height) }) }),
  });
  form.querySelector = (selector) => (selector === "canvas" ? canvas : nothing());
  form.querySelectorAll = (selector) => (selector === ".menu" ? [nothing(), nothing()] : []);
  const props = {
    classes, max_side: 1024, grow: 0.05, value: mapOf(rows), backdrop: "", source: "", unsure: "", differing: "",
  };
  const told = [];
  const given = {
    element: { querySelector: () => form }, props, watch() {}, server: {}, trigger: (name) => told.push(name),
    localStorage: {
      getItem: (key) => storage[key] ?? null,
      setItem: (key, text) => (storage[key] = text),
      removeItem: (key) => delete storage[key],
    },
    requestAnimationFrame() {}, MutationObserver: class { observe() {} }, document: nothing(),
  };
  const scripts = load("label_editor", EDITOR, [...names, "map", "width", "height", "controls", "form"], given);
  return Object.assign(Object.create(scripts), { props, told, storage });
}

function mapOf(rows) {
  const ids = rows.join("").split("").map(Number);
  return { height: rows.length, width: rows[0].length, runs: ids.flatMap((id) => [id, 1]) };
}

const rowsOf = ({ map, width }) =>
  Array.from({ length: map.length / width }, (_, row) => Array.from(map.slice(row * width, (row + 1) * width)).join(""));

module.exports = { load, nothing, editor, rowsOf };
