"""What a person does on the page, and what the page then holds."""

import base64
import io

import numpy as np

from facemogle.templates import template_face
from facemogle.ui.examples import Example

FACE = template_face(size=128)
EXAMPLES = [Example(FACE, "a face"), Example(FACE[::-1].copy(), "a face upside down")]


def map_in(page) -> np.ndarray:
    """(H, W) class ids, as the page holds them."""
    height, width, class_ids = page.eval_on_selector(  # as letters, since a list would come number by number
        "#label-editor canvas",
        "canvas => [canvas.height, canvas.width, btoa(new TextDecoder().decode(canvas.labelMap()))]",
    )
    return np.frombuffer(bytearray(base64.b64decode(class_ids)), np.uint8).reshape(height, width)


def at(page, x: float, y: float) -> tuple[float, float]:
    """A place on the canvas, in fractions of its sides -> a place in the window."""
    box = page.locator("#label-editor canvas").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def choose(page, name: str) -> None:
    page.locator("#label-editor label").filter(has=page.get_by_text(name, exact=True)).click()


def stroke(page, *places: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at(page, *place), steps=5)
    page.mouse.up()


def press(page, name: str) -> None:
    page.locator("#label-editor").get_by_role("button", name=name, exact=True).click()


def set_number(page, name: str, value: int | str) -> None:
    field = page.locator(f"#{name} input[type=number]")
    if field.is_hidden():
        open_advanced(page)
    field.fill(str(value))
    field.blur()


def show_step(page, step: int) -> str:
    """Move the inspector's slider to a step, from 1 -> what the experts say there."""
    page.locator("#gating input[name=step]").fill(str(step - 1))
    page.wait_for_selector(f"#gating output[name=when] >> text=Step {step} of", state="attached")
    page.wait_for_timeout(100)  # it draws once a frame
    return said(page)


def said(page) -> str:
    """The face and the mean weights of the 20 experts that the inspector shows, in its tab."""
    page.get_by_role("tab", name="Experts").click()
    page.wait_for_selector("#gating .card:nth-of-type(20) b:not(:empty)")
    weights = page.eval_on_selector_all("#gating .card b", "means => means.map(mean => mean.textContent).join()")
    return weights + page.locator("#gating .thumb").get_attribute("src")


def generate(*pages) -> None:
    """Of all pages at once, until each has its face."""
    for page in pages:
        # A press at the end of a run waits for what that run still changes, and the status tells of that run as long.
        page.evaluate("document.querySelector('#status .run')?.setAttribute('data-before', '')")
        page.click("#generate")
    for page in pages:
        page.wait_for_selector("#status .run.idle:not([data-before]) >> text=Made from", timeout=60_000)


def open_advanced(page) -> None:
    page.get_by_role("button", name="Advanced").click()
    page.wait_for_selector("#steps input[type=number]", state="visible")
    # A frame after it shows what was hidden, Gradio sets it once more, to what it was built with.
    page.evaluate("async () => { for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame); }")


def face_address(page) -> str:
    return page.locator("#face img").get_attribute("src")


def face_changes(page, last: str | None) -> str:
    """Wait until the page shows another face than `last` -> its address."""
    page.wait_for_function("last => (document.querySelector('#face img')?.src ?? last) != last", arg=last)
    return face_address(page)


def file_of(page, address: str) -> io.BytesIO:
    """What the page shows at an address, as the download button would save it."""
    return io.BytesIO(page.request.get(address).body())


def opacity(page, row: int, column: int) -> int:
    """Of a pixel of the map as the canvas shows it, 0..255."""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    return page.eval_on_selector(
        "#label-editor canvas",
        "(canvas, [row, column]) => canvas.getContext('2d').getImageData(column, row, 1, 1).data[3]",
        [row, column],
    )


def corner(page, name: str) -> tuple[float, float]:
    """Where in the window the frame of the Move tool has its corner "left top", ..."""
    box = page.locator(f"#label-editor [data-corner='{name}']").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, start: tuple[float, float], by: tuple[float, float]) -> None:
    """From a place in the window, by fractions of the map."""
    box = page.locator("#label-editor canvas").bounding_box()
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0] * box["width"], start[1] + by[1] * box["height"], steps=5)
    page.mouse.up()


def touch(page, *frames: list[tuple[float, float]]) -> None:
    """Fingers at places in the window, frame by frame; then all of them lift."""
    session = page.context.new_cdp_session(page)
    for number, frame in enumerate([*frames, []]):
        kind = (
            "touchEnd"
            if not frame
            else "touchMove"
            if number and len(frame) == len(frames[number - 1])
            else "touchStart"
        )
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(frame)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.detach()


def pen_stroke(page, *places: tuple[float, float]) -> None:
    session = page.context.new_cdp_session(page)
    kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
    for kind, place in zip(kinds, [*places, places[-1]], strict=True):
        x, y = at(page, *place)
        pen = {"x": x, "y": y, "button": "left", "buttons": int(kind != "mouseReleased"), "pointerType": "pen"}
        session.send("Input.dispatchMouseEvent", {"type": kind, "clickCount": 1, **pen})
    session.detach()


def transferred(page) -> dict[str, int]:
    """Address -> bytes over the wire, headers too, of all that the page fetches from now on; filled as it comes."""
    session, addresses, fetched = page.context.new_cdp_session(page), {}, {}

    def add(done: dict) -> None:
        address = addresses[done["requestId"]]
        fetched[address] = fetched.get(address, 0) + done["encodedDataLength"]

    session.on("Network.requestWillBeSent", lambda sent: addresses.update({sent["requestId"]: sent["request"]["url"]}))
    session.on("Network.loadingFinished", add)
    session.send("Network.enable")
    return fetched


def shut(blocks) -> None:
    """Gradio sets an event of the server's loop from this thread, which fails while the loop looks who waits for it."""
    try:
        blocks.close()
    except RuntimeError:
        blocks.server.close()  # which it had come to
