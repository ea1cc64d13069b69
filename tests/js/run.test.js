const test = require("node:test");
const assert = require("node:assert/strict");
const { load } = require("./scripts.js");

const NAMES = ["readRun", "weightsOf", "weightAt", "tokenAt", "expertOfClassAt", "winnersAt", "sharesOf", "topLead", "stepLike", "ranking", "topAt"];
const props = { experts: ["global", "skin", "hair"].map((name) => ({ name })) };
const inspector = load("gating_inspector", ["run"], NAMES, { props });

// Two steps, three experts, two places: quarters and halves are exact in half precision.
const QUARTER = 0x3400, HALF = 0x3800, THREE_QUARTERS = 0x3a00, ZERO = 0;
const weights = Uint16Array.from([
  HALF, QUARTER, QUARTER, QUARTER, QUARTER, HALF,
  ZERO, QUARTER, THREE_QUARTERS, QUARTER, QUARTER, HALF,
]);
const data = {
  title: "a run", grid: [1, 2], timesteps: [900, 100], weights: Buffer.from(weights.buffer).toString("base64"),
  label_map: { height: 2, width: 4, runs: [0, 2, 1, 2, 0, 2, 1, 2] },
  locality: [[[0.5, 0.25], [null, 0.5]], [[0.25, 0.25], [null, 0.25]]],
};
const run = inspector.readRun({ ...data, label_map: null }, 1);
const mapped = { ...run, map: { height: 2, width: 4, classes: Uint8Array.from([0, 0, 1, 1, 0, 0, 1, 1]) } };

test("weights are read by step, expert and place", () => {
  assert.deepEqual(Array.from(inspector.weightsOf(run, 1, 1)), [0.75, 0.25]);
  assert.equal(inspector.weightAt(run, 0, 2, 1), 0.5);
  assert.deepEqual(run.means, [[0.375, 0.25, 0.375], [0.125, 0.5, 0.375]]);
  assert.deepEqual(run.tops, [0.5, 0.75, 0.5]);
  assert.equal(inspector.topAt(run, 1), 0.5);
});

test("halves are read in full: small ones, signs, and what is no number", () => {
  const odd = Uint16Array.from([0x0001, 0x8000, 0xbc00, 0x7bff, 0x7c00, 0x7e00]);
  const read = inspector.readRun({ ...data, timesteps: [1], label_map: null, locality: null, weights: Buffer.from(odd.buffer).toString("base64") }, 1);
  assert.deepEqual(Array.from(read.weights), [2 ** -24, -0, -1, 65504, Infinity, NaN]);
});

test("a place is in a token, whose middle is in a class", () => {
  assert.equal(inspector.tokenAt(run, { x: 0.49, y: 0.9 }), 0);
  assert.equal(inspector.tokenAt(run, { x: 1, y: 1 }), 1);
  assert.equal(inspector.expertOfClassAt(run, { x: 0.9, y: 0 }), null);
  assert.equal(inspector.expertOfClassAt(mapped, { x: 0.9, y: 0 }), 2);
});

test("the winner of a place leads by what it has over the second; of equals the first wins", () => {
  const { experts, leads } = inspector.winnersAt(run, 0, 0);
  assert.deepEqual([Array.from(experts), Array.from(leads)], [[0, 2], [0.25, 0.25]]);
  assert.deepEqual(Array.from(inspector.winnersAt(run, 0, 1).experts), [1, 2]); // of the classes alone
  assert.deepEqual(inspector.sharesOf({ experts, leads }).map(({ expert, share }) => [expert, share]), [[0, 0.5], [2, 0.5]]);
  assert.equal(inspector.topLead(run, 0), 0.5);
});

test("runs of other steps are compared where their noise is nearest", () => {
  assert.equal(inspector.stepLike(run, 480), 1);
  assert.equal(inspector.stepLike(run, 2000), 0);
});

test("experts are ranked by inside over outside, the absent ones last", () => {
  const rows = inspector.ranking(run);
  assert.deepEqual(rows.map(({ expert }) => expert), [1, 2]);
  assert.equal(rows[0].ratio, 1.5);
  assert.ok(Number.isNaN(rows[1].ratio));
});
