const test = require("node:test");
const assert = require("node:assert/strict");
const { load } = require("./scripts.js");

test("one request is under way, and what is asked for meanwhile comes after it, once", () => {
  const document = new EventTarget(), element = { isConnected: true }, asked = [];
  const filled = [];
  let filling = 0;
  document.addEventListener("facemogle:filling", () => filling++);
  document.addEventListener("facemogle:filled", () => filled.push(asked.length));
  load("showing", ["showing"], [], { document, element, trigger: (name) => asked.push(name) });
  const show = (...detail) => document.dispatchEvent(new CustomEvent("facemogle:show", { detail }));
  const shown = () => document.dispatchEvent(new Event("facemogle:shown"));

  show("views");
  show("face");
  show("views", "filled");
  show("face");
  assert.deepEqual(asked, ["views"]);
  shown();
  assert.deepEqual(asked, ["views", "face"]);
  shown();
  assert.deepEqual([asked, filled], [["views", "face", "views"], []]);
  show("comparison");
  shown();
  assert.deepEqual([asked.slice(3), filled], [["comparison"], [3]]);
  shown();
  show("views");
  assert.equal(asked.length, 5);
  shown();

  // What changes the visit comes as it was asked, and before what is to be shown of it.
  const turn = (name) => document.dispatchEvent(new CustomEvent("facemogle:turn", { detail: () => asked.push(name) }));
  show("views");
  turn("pick");
  show("face");
  turn("undo");
  assert.deepEqual([asked.slice(5), filling], [["views"], 2]);
  for (const _ of [1, 2, 3]) shown();
  assert.deepEqual(asked.slice(5), ["views", "pick", "undo", "face"]);
  shown();
  turn("pick");
  assert.equal(asked.length, 10);
  element.isConnected = false;
  shown();
  show("face");
  turn("undo");
  assert.equal(asked.length, 10);
});
