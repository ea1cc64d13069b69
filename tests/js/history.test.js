const test = require("node:test");
const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const { editor, rowsOf } = require("./scripts.js");

const NAMES = ["change", "write", "undo", "redo", "past", "future", "settle", "kept", "receive", "MAX_UNDO"];
const onMap = (rows, storage) => editor(rows, NAMES, storage);

test("undo and redo walk the changes, and a new change ends what could be redone", () => {
  const page = onMap(["000"]);
  page.change(() => page.write([[0, 0, 1]], 1));
  page.change(() => page.write([[0, 1, 2]], 2));
  page.undo();
  assert.deepEqual(rowsOf(page), ["100"]);
  page.redo();
  assert.deepEqual(rowsOf(page), ["120"]);
  page.undo();
  page.change(() => page.write([[0, 2, 3]], 2));
  page.redo();
  assert.deepEqual(rowsOf(page), ["102"]);
  assert.deepEqual(page.props.value.runs, [1, 1, 0, 1, 2, 1]); // what Python gets
});

test("what changes nothing is no step", () => {
  const page = onMap(["010"]);
  page.change(() => page.write([[0, 1, 2]], 1));
  assert.equal(page.past.length, 0);
});

test("the history has an end", () => {
  const page = onMap(["0".repeat(200)]);
  for (let i = 0; i < page.MAX_UNDO + 20; i++) page.change(() => page.write([[0, i, i + 1]], 1));
  assert.equal(page.past.length, page.MAX_UNDO);
});

test("a map from Python can be undone, too", () => {
  const page = onMap(["000"]);
  page.change(() => page.write([[0, 0, 1]], 1));
  page.props.value = { height: 1, width: 3, runs: [2, 3] };
  page.receive();
  page.undo();
  assert.deepEqual(rowsOf(page), ["100"]);
});

test("Python is told of a stroke while the page is live, and not before", () => {
  const page = onMap(["000"]);
  page.change(() => page.write([[0, 0, 1]], 1));
  page.form.dataset.live = "on";
  page.change(() => page.write([[0, 1, 2]], 1));
  assert.deepEqual(page.told, ["stroke"]);
});

test("the draft is kept, and comes back as one more step", async () => {
  const page = onMap(["000"]);
  page.change(() => page.write([[0, 0, 2]], 1));
  await sleep(1);
  const again = onMap(["222"], page.storage);
  await sleep(1);
  assert.deepEqual(rowsOf(again), ["110"]);
  again.undo();
  assert.deepEqual(rowsOf(again), ["222"]);
});

for (const forged of ["no JSON", "{}", '{"height":1,"width":3,"runs":[0,2]}', '{"height":1,"width":3,"runs":[19,3]}',
  '{"height":1,"width":2000,"runs":[0,2000]}', '{"height":1,"width":3,"runs":[0,3,1]}']) {
  test(`a draft that others wrote is passed over: ${forged}`, () => {
    assert.equal(onMap(["000"], { "facemogle-label-map": forged }).kept(), null);
  });
}
