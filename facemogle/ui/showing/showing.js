// At most one request is under way. What is asked for meanwhile comes after it, once, of the visit as it is by then.

const events = {
  views: () => trigger("views"),
  face: () => trigger("face"),
  comparison: () => trigger("comparison"),
  filled() { // not asked of Python: fields are filled, and all before this is shown
    document.dispatchEvent(new Event("facemogle:filled"));
    next();
  },
};
const wanted = new Set();
let asked;

function next() {
  [asked] = wanted;
  wanted.delete(asked);
  events[asked]?.();
}

function hear({ type, detail }) {
  if (!element.isConnected) {
    for (const name of ["facemogle:show", "facemogle:shown"]) document.removeEventListener(name, hear);
    return;
  }
  for (const name of detail ?? []) wanted.add(name);
  if (type === "facemogle:shown" || !asked) next();
}

for (const name of ["facemogle:show", "facemogle:shown"]) document.addEventListener(name, hear);
