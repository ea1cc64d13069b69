const test = require("node:test");
const assert = require("node:assert/strict");
const { editor, rowsOf } = require("./scripts.js");

const NAMES = ["bounds", "pull", "grown", "stretch", "lift", "place", "drop", "lifted", "mover"];
const onMap = (...rows) => editor(rows, NAMES);

test("a region has the smallest box around it", () => {
  assert.deepEqual(onMap("0000", "0000", "0000").bounds([[1, 1, 3], [2, 0, 2]]), { left: 0, top: 1, wide: 3, tall: 2 });
});

test("a corner that is dragged leaves the opposite one where it is", () => {
  const { pull } = onMap("0"), box = { left: 10, top: 20, wide: 4, tall: 8 };
  assert.deepEqual(pull(box, "right bottom", 2, -3, false), { left: 10, top: 20, wide: 6, tall: 5 });
  assert.deepEqual(pull(box, "left top", 2, 4, false), { left: 12, top: 24, wide: 2, tall: 4 });
  assert.deepEqual(pull(box, "left top", 90, 90, false), { left: 13, top: 27, wide: 1, tall: 1 });
  assert.deepEqual(pull(box, "right bottom", 4, 0, true), { left: 10, top: 20, wide: 8, tall: 16 });
});

test("a box grows about its middle, but never beyond twice the map", () => {
  const { grown } = onMap("0000", "0000");
  assert.deepEqual(grown({ left: 0, top: 0, wide: 2, tall: 2 }, 1.5), { left: -0.5, top: -0.5, wide: 3, tall: 3 });
  const large = { left: 0, top: 0, wide: 7, tall: 3 };
  assert.equal(grown(large, 2), large);
});

test("a region that is stretched twice as wide covers twice as much of each row", () => {
  const page = onMap(..."00000000 ".repeat(3).trim().split(" "));
  const from = { left: 1, top: 1, wide: 2, tall: 1 };
  assert.deepEqual(page.stretch([[1, 1, 3]], from, { left: 1, top: 0, wide: 4, tall: 2 }), [[0, 1, 5], [1, 1, 5]]);
});

test("a region moves off its ground, and back without a trace", () => {
  const page = onMap("111111", "122111", "111111");
  page.lift({ x: 1.5, y: 1.5 });
  page.place({ ...page.lifted.box, left: 3 });
  assert.deepEqual(rowsOf(page), ["111111", "111221", "111111"]);
  page.place(page.lifted.from);
  assert.deepEqual(rowsOf(page), ["111111", "122111", "111111"]);
});

test("the background and what is locked stay where they are", () => {
  const page = onMap("0110");
  page.lift({ x: 0.5, y: 0.5 });
  assert.equal(page.lifted, null);
});
