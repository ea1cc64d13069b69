const test = require("node:test");
const assert = require("node:assert/strict");
const { editor, rowsOf } = require("./scripts.js");

const onMap = (...rows) =>
  editor(rows, ["encode", "expand", "runsOf", "show", "trail", "inside", "connected", "uncover", "write", "flip", "percent", "locked"]);
const spansOf = (spans) => spans.toSorted(([a, b], [c, d]) => a - c || b - d);

test("run lengths say each class once and give the map back", () => {
  const page = onMap("0011", "1222");
  assert.deepEqual(page.encode().runs, [0, 2, 1, 3, 2, 3]);
  assert.deepEqual(page.expand([0, 2, 1, 3, 2, 3], 8), page.map);
});

test("a map of another size takes the place of the one shown", () => {
  const page = onMap("00", "11");
  page.show({ height: 1, width: 3, runs: [2, 3] });
  assert.deepEqual([page.height, page.width, rowsOf(page)], [1, 3, ["222"]]);
});

test("a brush of one pixel paints the pixels of its way, a wider one a disc", () => {
  const page = onMap(..."00000 ".repeat(5).trim().split(" "));
  assert.deepEqual(spansOf(page.trail({ x: 1.5, y: 2.5 }, { x: 3.5, y: 2.5 }, 0.5)), [[2, 1, 4]]);
  page.write(page.trail({ x: 2.5, y: 2.5 }, { x: 2.5, y: 2.5 }, 1.5), 1);
  assert.deepEqual(rowsOf(page), ["00000", "01110", "01110", "01110", "00000"]);
});

test("what reaches beyond the map is cut off at its border", () => {
  const page = onMap("000", "000");
  page.write([[-1, 0, 3], [0, -5, 1], [1, 2, 9], [2, 0, 3]], 2);
  assert.deepEqual(rowsOf(page), ["200", "002"]);
});

test("an outline is filled by winding, so that a loop over itself leaves no hole", () => {
  const page = onMap(..."000000 ".repeat(6).trim().split(" "));
  const square = [[1, 1], [5, 1], [5, 5], [1, 5]].map(([x, y]) => ({ x, y }));
  page.write(page.inside([...square, ...square]), 1);
  assert.deepEqual(rowsOf(page), ["000000", "011110", "011110", "011110", "011110", "000000"]);
});

test("fill takes what hangs together by sides, not by corners", () => {
  const page = onMap("1010", "0110", "1001");
  page.write(page.connected({ x: 2.5, y: 0.5 }), 2);
  assert.deepEqual(rowsOf(page), ["1020", "0220", "1001"]);
  assert.deepEqual(page.connected({ x: -1, y: 0 }), []);
});

test("mirrored, the left eye becomes the right one on the other side", () => {
  const page = onMap("00000");
  page.controls.mirror.checked = true;
  page.write([[0, 0, 2]], 3);
  assert.deepEqual(rowsOf(page), ["33044"]);
  page.flip();
  assert.deepEqual(rowsOf(page), ["33044"]); // it is its own mirror image
});

test("a locked class keeps its pixels", () => {
  const page = onMap("0120");
  page.locked[2] = 1;
  page.write([[0, 0, 4]], 1);
  assert.deepEqual(rowsOf(page), ["1121"]);
});

test("a region that is lifted is filled from its rim", () => {
  const page = onMap("11111", "12221", "00000");
  page.uncover([[1, 1, 4]]);
  assert.deepEqual(rowsOf(page)[0], "11111");
  assert.ok(!page.map.includes(2));
});

test("shares are said in as many digits as they have", () => {
  assert.deepEqual([0, 0.04, 2.34, 56.7].map(onMap("0").percent), ["–", "<0.1%", "2.3%", "57%"]);
});
