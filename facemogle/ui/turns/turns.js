// While the status only says to wait, Python is asked how long.

const PERIOD = 1000; // milliseconds

const waiting = () => document.querySelector("#status .waiting p");

function look() {
  if (!element.isConnected) return;
  if (waiting()) trigger("ask");
  else if (props.value) props.value = null; // the next wait may begin with the same words
  setTimeout(look, PERIOD);
}

watch("value", () => {
  const line = waiting();
  if (line && props.value) line.textContent = props.value;
});
look();
