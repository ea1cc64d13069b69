// Keys that count anywhere on the page, the sheet that lists all, and the links that skip to its parts.

const sheet = element.querySelector("dialog");

const writing = ({ target }) => target.closest?.("textarea, [contenteditable], input:not([type=checkbox], [type=radio], [type=range])");

const keys = {
  "?": (event) => !writing(event) && !sheet.open && (sheet.showModal(), true),
  Enter: (event) => {
    const generate = document.querySelector("#generate");
    if (!(event.ctrlKey || event.metaKey) || sheet.open || !generate || generate.inert) return false;
    generate.click();
    return true;
  },
  Escape: () => !sheet.open && leaveLayers(),
};

onDocument("keydown", (event) => {
  if (event.isComposing || event.altKey || !keys[event.key]?.(event)) return;
  event.preventDefault();
  event.stopPropagation();
});

element.querySelector(".skip").addEventListener("click", ({ target: { value } }) => {
  if (value === "?") return sheet.showModal();
  const place = value && document.querySelector(value);
  place?.scrollIntoView({ block: "nearest" });
  place?.focus();
});
// Gradio's own parts, as they come: a button without a name, a name where none may be, a picture that says it twice, a
// panel of a tab that scrolls and holds nothing to focus.
function mend() {
  for (const button of document.querySelectorAll(".image-container button:not([aria-label]):has(img)")) {
    button.ariaLabel = "The picture, to look at in full";
  }
  for (const panel of document.querySelectorAll("[role=tabpanel]:not([tabindex])")) panel.tabIndex = 0;
  for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) empty.role = "img";
  for (const image of document.querySelectorAll("footer img[alt]:not([alt=''])")) image.alt = "";
}

let soon = null; // a run changes the page ten times a second
const mending = new MutationObserver(() => {
  if (!element.isConnected) return mending.disconnect();
  soon ??= setTimeout(() => {
    soon = null;
    mend();
  }, 200);
});
mending.observe(document.body, { childList: true, subtree: true });
mend();

sheet.addEventListener("click", ({ target }) => target === sheet && sheet.close()); // beside it
