// Its buttons; Enter, which saves wherever it does nothing else; and the caption, kept under the face's key while it is
// written. Storage may be full or blocked, and the page works all the same.

const menu = element.querySelector(".menu");

element.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  menu.open = false;
  if (button.name === "reject") trigger("reject", { why: button.value });
  else if (button.name === "skip") trigger("skip");
  else trigger("back");
});

const OWN = "button, summary, select, a, dialog, [role=button], [role=link]"; // what Enter presses, chooses or follows

function hear(event) {
  if (!element.isConnected) return document.removeEventListener("keydown", hear);
  const { key, ctrlKey, metaKey, altKey, shiftKey, isComposing, target } = event;
  if (key !== "Enter" || ctrlKey || metaKey || altKey || shiftKey || isComposing || target.closest(OWN)) return;
  const save = document.querySelector("#generate");
  if (!save || save.inert || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  event.stopPropagation();
  save.click();
}
document.addEventListener("keydown", hear, true);

function keep({ target }) {
  if (!element.isConnected) return document.removeEventListener("input", keep);
  if (!props.value || !target.matches("#prompt textarea")) return;
  try {
    localStorage.setItem(`${props.value}/caption`, target.value);
  } catch {}
}
document.addEventListener("input", keep);

// The first face comes once the editor can take it.
function start() {
  if (!element.isConnected) return;
  if (document.querySelector("#label-editor canvas")?.labelMap) setTimeout(() => trigger("start"));
  else setTimeout(start, 20);
}
start();
