// The palette: which class is painted with, which are locked, which are shown.

const hideBoxes = byClass(controls.hide), lockBoxes = byClass(controls.lock);
const shown = () => hideBoxes.filter((_, classId) => !unseen[classId]).length;
const isAlone = (classId) => shown() === 1 && !unseen[classId];

// One way to hide classes, whoever asks: `isShown` tells of each whether the canvas shows it.
function see(isShown) {
  hideBoxes.forEach((box, classId) => {
    unseen[classId] = Number(!isShown(classId));
    box.checked = Boolean(unseen[classId]);
  });
  redraw();
  tellSolo();
}

const seeAll = () => see(() => true);
const solo = (classId) => (isAlone(classId) ? seeAll() : see((other) => other === classId));

function tellSolo() {
  controls.solo.textContent = `Only ${props.classes[chosenClass()].name}`;
  controls.solo.ariaPressed = String(isAlone(chosenClass()));
  controls.all.disabled = shown() === colours.length;
}

// By keys, the lock and the eye of the chosen class alone are stops.
function tellStops() {
  for (const box of form.querySelectorAll(".toggle input")) box.tabIndex = Number(box.value) === chosenClass() ? 0 : -1;
}

// What one paints with is shown; where a class was shown alone, it takes its place.
function classChosen() {
  const classId = chosenClass(), instead = shown() === 1;
  if (unseen[classId]) see((other) => other === classId || (!unseen[other] && !instead));
  tellSolo();
  tellStops();
}

function classOfKey({ code, shiftKey }) {
  const classId = /^Digit\d$/.test(code) ? Number(code[5]) + (shiftKey ? 10 : 0) : -1;
  return props.classes[classId] ? String(classId) : null;
}

controls.solo.addEventListener("click", () => solo(chosenClass()));
controls.all.addEventListener("click", seeAll);
for (const [classId, box] of hideBoxes.entries()) box.parentElement.addEventListener("dblclick", () => solo(classId));
