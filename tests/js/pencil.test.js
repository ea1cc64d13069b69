const test = require("node:test");
const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const { editor, rowsOf } = require("./scripts.js");

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

test("undo brings back the map and the lines that another was made of, and redo takes both", async () => {
  const page = editor(["0000", "0000"], ["pencil", "lines", "server", "makeMap", "undo", "redo"]);
  const draw = (x, y) => {
    page.pencil.down({ x, y });
    page.pencil.up();
    return page.lines.at(-1);
  };
  await sleep(1); // what is kept comes back first
  const made = { height: 2, width: 4, runs: [1, 8] };
  let later;
  page.server.read_lines = async () => {
    later = draw(3, 0); // while the others are read
    return { value: made, message: "" };
  };
  const first = draw(1, 1), second = draw(2, 1);
  await page.makeMap();
  const is = (rows, lines) => assert.deepEqual([rowsOf(page), page.lines], [rows, lines]);
  is(["1111", "1111"], [later]);
  page.undo();
  is(["0000", "0000"], [first, second, later]);
  page.redo();
  is(["1111", "1111"], [later]);
  page.undo();
  const last = draw(0, 1);
  page.undo(); // nothing is left to undo
  is(["0000", "0000"], [first, second, later, last]);
  page.redo();
  is(["1111", "1111"], [later, last]);

  page.server.read_lines = async () => ({ error: "Nothing of a face was recognised." });
  await page.makeMap();
  is(["1111", "1111"], [later, last]);
});

test("what others wrote in their place is no line", async () => {
  for (const text of ["{", "null", "{}", "[3]", "[[]]", '[[{"x": "a", "y": 1}]]', "[[null]]"]) {
    const page = onMap(["000"], { "facemogle-label-map-lines": text });
    await sleep(1);
    assert.deepEqual(page.lines, [], text);
  }
});
