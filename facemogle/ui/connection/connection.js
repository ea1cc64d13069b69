// The server is asked for its name again and again. Another name is another server, which knows nothing of this page:
// the page loads anew, and finds all that the browser kept.

const PERIOD = 3000, PATIENCE = 6000; // milliseconds
const NEED_IT = "#generate, #cancel, #live, #examples, #history, #variations, #photo, #in-place, #onward, #without, " +
  "#way, #gating button[name=again]";

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
  if (lost) breakOff();
}

// A run or a study that is under way never ends on this page.
function breakOff() {
  const run = document.querySelector("#status .run:is(.running, :has(progress))");
  if (!run) return;
  interrupted = true;
  run.className = "run failed";
  run.innerHTML = "<p>Broken off: the server went away. Begin again once it is back.</p>";
}

async function look() {
  if (!element.isConnected) return;
  try {
    const answer = await ask();
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
