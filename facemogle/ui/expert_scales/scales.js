// `factors` is the truth, and not the sliders: a value from Python may lie between their steps or beyond their end.

const sliders = Array.from(element.querySelectorAll("input"));
const count = element.querySelector(".count");
const warning = element.querySelector("[role=status]");
const reset = element.querySelector("button");

let factors = {}; // other than 1, by experts' names

function show() {
  for (const slider of sliders) {
    const factor = factors[slider.name] ?? 1;
    const shown = Number(factor.toPrecision(3));
    slider.value = factor;
    slider.setAttribute("aria-valuetext", factor === 0 ? "muted" : `times ${shown}`);
    slider.nextElementSibling.textContent = factor === 0 ? "mute" : `×${shown}`;
    slider.parentElement.classList.toggle("changed", factor !== 1);
  }
  const changed = Object.keys(factors).length;
  count.textContent = changed ? `${changed} changed` : "";
  reset.disabled = !changed;
  const muted = sliders.every((slider) => factors[slider.name] === 0);
  const told = sliders.map(({ name }, number) => [number, factors[name]]).filter(([, factor]) => factor !== undefined);
  document.dispatchEvent(new CustomEvent("facemogle:factors", { detail: Object.fromEntries(told) }));
  warning.textContent = muted ? "All experts are muted. Leave at least one above 0." : "";
}

function change(next) { // synchronous: a click on Generate can never overtake it
  factors = next;
  props.value = Object.keys(factors).length ? { ...factors } : null;
  show();
}

function receive() {
  factors = { ...props.value };
  show();
}

element.addEventListener("input", ({ target }) => {
  const { [target.name]: before, ...others } = factors;
  const factor = Number(target.value);
  change(factor === 1 ? others : { ...others, [target.name]: factor });
});
reset.addEventListener("click", () => {
  change({});
  element.querySelector("summary").focus(); // a button that is disabled loses the focus
});

// Another part of the page steers, with factors by the experts' numbers, or asks with null what they are.
function hear({ detail }) {
  if (!element.isConnected) return document.removeEventListener("facemogle:steer", hear);
  const next = Object.entries(detail ?? {}).filter(([, factor]) => factor !== 1);
  if (detail) change(Object.fromEntries(next.map(([number, factor]) => [sliders[number].name, factor])));
  else show();
}

document.addEventListener("facemogle:steer", hear);
watch("value", receive);
receive();
