// The server is asked for its name again and again. Another name is another server, which knows nothing of this page:
// the page loads anew, and finds all that the browser kept.

const PERIOD = 3000, PATIENCE = 6000; // milliseconds
const NEED_IT = "#generate, #cancel, #live, #examples, #history, #variations, #photo, #in-place, #onward, " +
  "#gating button[name=again]";

const line = element.querySelector(".lost");
const { root = "", api_prefix = "/gradio_api" } = window.gradio_config ?? {};

let name = null, misses = 0, lost = false, interrupted = false;

async function ask() {
  const answer = await fetch(`${root}${api_prefix}/app_id`, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);
  return (await answer.json()).app_id;
}

function show(isLost) {
  lost = isLost;
  line.hidden = !lost;
  document.documentElement.dataset.server = lost ? "lost" : "";
  for (const control of document.querySelectorAll(NEED_IT)) control.inert = lost;
  interrupted ||= lost && Boolean(document.querySelector("#status .running"));
}

async function look() {
  if (!element.isConnected) return;
  try {
    const answer = await ask();
    // A run that was broken off never ends on this page.
    if ((name !== null && answer !== name) || (lost && interrupted)) return location.reload();
    name = answer;
    misses = 0;
    if (lost) show(false);
  } catch (error) {
    misses += 1;
    // A refusal is certain; a server that is merely busy gets a second chance.
    if (name !== null && !lost && (error.name !== "TimeoutError" || misses > 1)) show(true);
  }
  setTimeout(look, lost ? PERIOD / 3 : PERIOD);
}

look();
