const test = require("node:test");
const assert = require("node:assert/strict");
const { load, nothing } = require("./scripts.js");

const given = { element: nothing(), props: { max_runs: 3, max_bytes: 100 }, watch() {}, setTimeout() {}, trigger() {} };
const { surplus, sizeOf } = load("kept_runs", ["kept"], ["surplus", "sizeOf"], given);
const sized = (...sizes) => sizes.map((size, number) => ({ number, size }));

test("the newest runs stay, as many as may", () => {
  assert.deepEqual(surplus(sized(1, 1, 1)), []);
  assert.deepEqual(surplus(sized(1, 1, 1, 1, 1)), [1, 0]);
});

test("and no more than fit", () => {
  assert.deepEqual(surplus(sized(90, 20, 30)), [0]);
  assert.deepEqual(surplus(sized(200)), [0]);
});

test("base64 is a third larger than what it holds", () => {
  assert.equal(sizeOf(["A".repeat(40), "A".repeat(4)]), 33);
});
