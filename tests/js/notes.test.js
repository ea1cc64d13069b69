const test = require("node:test");
const assert = require("node:assert/strict");
const { load, nothing } = require("./scripts.js");

const given = { element: nothing(), props: { worn: [] }, watch() {}, trigger() {}, document: nothing({ querySelector: () => null }) };
const { apart, replaced } = load("prompt_notes", ["notes"], ["apart", "replaced"], given);
const hat = { id: 14, name: "hat", said: "a hat" }, glasses = { id: 3, name: "eyeglasses", said: "glasses" };

test("what only the prompt has is missing, what only the map has is unsaid", () => {
  assert.deepEqual(apart([hat, glasses], [14], new Set([0, 1, 3]), true), { missing: [hat], unsaid: [glasses] });
  assert.deepEqual(apart([hat, glasses], [14, 3], new Set([3, 14]), true), { missing: [], unsaid: [] });
});

test("without a prompt the map alone decides, and nothing is unsaid", () => {
  assert.deepEqual(apart([hat], [], new Set([14]), ""), { missing: [], unsaid: [] });
});

test("a word is replaced where it stands alone, whatever signs are in it", () => {
  assert.equal(replaced("Blond, blondish, a blond", "blond", "blonde"), "blonde, blondish, a blonde");
  assert.equal(replaced("(hair:1.3) and hair", "(hair:1.3)", "$& hair"), "$& hair and hair");
  assert.equal(replaced("über, überall", "über", "over"), "over, überall");
});
