const test = require("node:test");
const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const { editor } = require("./scripts.js");

const onMap = (rows, storage) => editor(rows, ["pencil", "lines", "receive"], storage);
const LINE = [{ x: 0.25, y: 0.5 }, { x: 0.25, y: 0.5 }, { x: 0.75, y: 1 }];

test("lines stay where they are in a map of another size, and come back with the page", async () => {
  const page = onMap(["0000", "0000"]);
  await sleep(1); // what is kept comes back first
  page.pencil.down({ x: 1, y: 1 });
  page.pencil.move({ x: 3, y: 2 });
  page.pencil.up();
  page.props.value = { height: 6, width: 6, runs: [0, 36] };
  page.receive();
  assert.deepEqual(page.lines, [LINE]);
  page.controls.mirror.checked = true;
  page.pencil.down({ x: 0, y: 6 });
  page.pencil.up();
  assert.deepEqual(page.lines.at(-1), [{ x: 1, y: 1 }, { x: 1, y: 1 }]);
  await sleep(1);
  const again = onMap(["000"], page.storage);
  await sleep(1);
  assert.deepEqual(again.lines, page.lines);
});

test("what others wrote in their place is no line", async () => {
  for (const text of ["{", "null", "{}", "[3]", "[[]]", '[[{"x": "a", "y": 1}]]', "[[null]]"]) {
    const page = onMap(["000"], { "facemogle-label-map-lines": text });
    await sleep(1);
    assert.deepEqual(page.lines, [], text);
  }
});
