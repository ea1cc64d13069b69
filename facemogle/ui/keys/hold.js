// A press on Generate waits for what Python is filling into the fields, such as an example's map and prompt.

const LONGEST = 5000; // milliseconds

let filling = null, pressed = false;

function filled() {
  clearTimeout(filling);
  filling = null;
  if (pressed) document.querySelector("#generate")?.click();
  pressed = false;
}

onDocument("facemogle:filling", () => {
  clearTimeout(filling);
  filling = setTimeout(filled, LONGEST);
});
onDocument("facemogle:filled", filled);
onDocument("click", (event) => {
  if (filling === null || !event.target.closest("#generate")) return;
  event.stopImmediatePropagation();
  pressed = true;
});
