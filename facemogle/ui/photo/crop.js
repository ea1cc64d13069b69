// A square on a photo, in the photo's pixels: { left, top, side }, always within it.

const SMALLEST = 16; // pixels of the photo
const STEP = 0.02, GROWTH = 1.1; // by keys: of the photo's shorter side, and of the square

const details = element.querySelector("details");
const photo = element.querySelector(".photo");
const picture = element.querySelector("img");
const frame = element.querySelector(".square");

let square = { left: 0, top: 0, side: 1 };
let grip = null; // what a drag does with a place in the photo

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const shorter = () => Math.min(props.width, props.height);

function place({ left, top, side }) {
  side = clamp(Math.round(side), Math.min(SMALLEST, shorter()), shorter());
  square = {
    left: clamp(Math.round(left), 0, props.width - side), top: clamp(Math.round(top), 0, props.height - side), side,
  };
  const percent = (share) => `${100 * share}%`;
  Object.assign(frame.style, {
    left: percent(square.left / props.width), top: percent(square.top / props.height),
    width: percent(side / props.width), height: percent(side / props.height),
  });
}

function receive() {
  if (props.picture) picture.src = props.picture;
  else picture.removeAttribute("src");
  details.open = Boolean(props.open);
  place(props.square);
}

function read() {
  props.value = { ...square };
  trigger("crop");
}

// --- Dragging: a corner or a fresh square leaves the opposite corner where it is -----------------------------------

function locate({ clientX, clientY }) {
  const box = photo.getBoundingClientRect();
  return {
    x: clamp(((clientX - box.left) / box.width) * props.width, 0, props.width),
    y: clamp(((clientY - box.top) / box.height) * props.height, 0, props.height),
  };
}

const stretchFrom = (anchor) => ({ x, y }) => {
  const toLeft = x < anchor.x, toTop = y < anchor.y;
  const room = Math.min(toLeft ? anchor.x : props.width - anchor.x, toTop ? anchor.y : props.height - anchor.y);
  const side = clamp(Math.max(Math.abs(x - anchor.x), Math.abs(y - anchor.y)), SMALLEST, Math.max(SMALLEST, room));
  place({ left: toLeft ? anchor.x - side : anchor.x, top: toTop ? anchor.y - side : anchor.y, side });
};

function grab(target, start) {
  const { left, top, side } = square;
  if (target === frame) return ({ x, y }) => place({ left: left + x - start.x, top: top + y - start.y, side });
  const [across, down] = target.dataset.corner?.split(" ") ?? [];
  if (!across) return stretchFrom(start);
  return stretchFrom({ x: across === "left" ? left + side : left, y: down === "top" ? top + side : top });
}

photo.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  frame.focus({ preventScroll: true });
  photo.setPointerCapture(event.pointerId);
  grip = grab(event.target, locate(event));
});
photo.addEventListener("pointermove", (event) => grip?.(locate(event)));
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) photo.addEventListener(name, () => (grip = null));

// --- Keys and the button -------------------------------------------------------------------------------------------

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function scale(factor) {
  const side = square.side * factor, shift = (square.side - side) / 2;
  place({ left: square.left + shift, top: square.top + shift, side });
}

frame.addEventListener("keydown", (event) => {
  const { key } = event, step = Math.max(1, STEP * shorter());
  if (arrows[key]) place({ ...square, left: square.left + arrows[key][0] * step, top: square.top + arrows[key][1] * step });
  else if (key === "[" || key === "]") scale(key === "]" ? GROWTH : 1 / GROWTH);
  else if (key === "Enter") read();
  else return;
  event.preventDefault();
});
element.querySelector("button").addEventListener("click", read);

for (const name of ["picture", "width", "height", "square", "open"]) watch(name, receive);
receive();
