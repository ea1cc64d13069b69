// Files and menus.

const [newMenu, saveMenu] = form.querySelectorAll(".menu");

const read = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = reject;
  reader.readAsDataURL(file);
});

let opened = null;  // the last file, for another class order

async function open(file) {
  const refuse = (reason) => say(`Not opened: ${reason}`, true);
  if (file.size > props.max_file_bytes) {
    return refuse(`The file is larger than ${props.max_file_bytes / 2 ** 20} MB. Save the map as an indexed PNG.`);
  }
  say(`Opening ${file.name} …`);
  const url = await read(file).catch(() => refuse(`The browser cannot read ${file.name}. Is it still there?`));
  opened = file;
  const upload = { name: file.name, file: url?.slice(url.indexOf(",") + 1), order: controls.order.value };
  if (url) replace(await server.open_label_map(upload));
}

function replace({ value, message, doubtful, error }) {
  if (error) return say(error, true);
  loaded = value;
  change(() => show(value));
  doubt(doubtful);
  say(message);
}

async function save(encoder, name) {
  const { file, error } = await server[encoder](encode());
  if (error) return say(error, true);
  const link = document.createElement("a");
  link.href = `data:image/png;base64,${file}`;
  link.download = name;
  link.click();
  say(`Saved as ${name}.`);
}

const lost = () => say("The server does not answer. Is it still running?", true);

function serve(menu, choice) {
  menu.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    menu.open = false;
    menu.querySelector("summary").focus();
    choice(button).catch(lost);
  });
}

serve(newMenu, async ({ value }) => replace(await server.start_from(value)));
serve(saveMenu, ({ value, dataset }) => save(value, dataset.file));
controls.open.addEventListener("click", () => controls.file.click());
controls.file.addEventListener("change", () => {
  if (controls.file.files.length) open(controls.file.files[0]).catch(lost);
  controls.file.value = "";
});
controls.order.addEventListener("change", () => opened && open(opened).catch(lost));
