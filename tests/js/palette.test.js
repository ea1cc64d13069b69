const test = require("node:test");
const assert = require("node:assert/strict");
const { editor } = require("./scripts.js");

const palette = () => editor(["0"], ["solo", "see", "seeAll", "isAlone", "shown", "choose", "classOfKey", "unseen"]);

test("a class alone, and all again", () => {
  const page = palette();
  page.solo(2);
  assert.deepEqual(Array.from(page.unseen).slice(0, 4), [1, 1, 0, 1]);
  assert.ok(page.isAlone(2));
  page.solo(2);
  assert.equal(page.shown(), 19);
});

test("what one paints with is shown: beside the others, or in place of the one alone", () => {
  const page = palette();
  page.see((classId) => classId !== 1);
  page.choose("class", "1");
  assert.equal(page.shown(), 19);
  page.solo(2);
  page.choose("class", "3");
  assert.ok(page.isAlone(3));
});

test("a digit chooses a class, with shift from ten on, and only one that there is", () => {
  const page = palette();
  assert.equal(page.classOfKey({ code: "Digit4", shiftKey: false }), "4");
  assert.equal(page.classOfKey({ code: "Digit8", shiftKey: true }), "18");
  assert.equal(page.classOfKey({ code: "Digit9", shiftKey: true }), null);
  assert.equal(page.classOfKey({ code: "KeyA", shiftKey: false }), null);
});
