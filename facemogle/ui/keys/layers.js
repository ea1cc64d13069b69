// What opens over the page shuts by Escape, which gives the focus back, and by a press anywhere else.

const OPEN = "details[open]:is(.menu, :has(> :is(.about, .listed))), #advanced:has(> button.open)";
const opener = (layer) => layer.querySelector("summary, button");

// But for the one with something in it. Those that were open, the outer ones first.
function shutLayers(within = null) {
  const layers = Array.from(document.querySelectorAll(OPEN)).filter((layer) => !layer.contains(within));
  for (const layer of layers) opener(layer).click();
  return layers;
}

function leaveLayers() {
  const [layer] = shutLayers();
  if (layer) opener(layer).focus();
  return Boolean(layer);
}

onDocument("pointerdown", ({ target }) => shutLayers(target));
