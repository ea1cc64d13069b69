// At most one request is under way. What changes the visit comes as it was asked; what is to be shown, after all of
// that, once, of the visit as it is by then.

const events = {
  views: () => trigger("views"),
  face: () => trigger("face"),
  comparison: () => trigger("comparison"),
  filled() { // not asked of Python: fields are filled, and all before this is shown
    document.dispatchEvent(new Event("facemogle:filled"));
    next();
  },
};
const turns = [], wanted = new Set();
let asked;

function next() {
  asked = turns.shift();
  if (asked) return asked();
  [asked] = wanted;
  wanted.delete(asked);
  events[asked]?.();
}

function hear({ type, detail }) {
  if (!element.isConnected) {
    for (const name of heard) document.removeEventListener(name, hear);
    return;
  }
  if (type === "facemogle:turn") {
    document.dispatchEvent(new Event("facemogle:filling"));
    turns.push(detail);
  } else for (const name of detail ?? []) wanted.add(name);
  if (type === "facemogle:shown" || !asked) next();
}

const heard = ["facemogle:turn", "facemogle:show", "facemogle:shown"];
for (const name of heard) document.addEventListener(name, hear);
