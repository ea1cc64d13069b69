"""What a person does on the page, and what the page then holds."""

import numpy as np

from facemogle.ui.examples import Example
from facemogle.ui.templates import template_face

FACE = template_face(size=128)
EXAMPLES = [Example(FACE, "a face"), Example(FACE[::-1].copy(), "a face upside down")]


def map_in(page) -> np.ndarray:
    """(H, W) class ids, as the page holds them."""
    height, width, class_ids = page.eval_on_selector(
        "#label-editor canvas", "canvas => [canvas.height, canvas.width, Array.from(canvas.labelMap())]"
    )
    return np.array(class_ids, np.uint8).reshape(height, width)


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
    field.fill(str(value))
    field.blur()


def show_step(page, step: int) -> str:
    """Move the slider -> the pictures of the experts, once they have changed."""
    last = expert_pictures(page)
    page.locator("#step input[type=range]").fill(str(step))
    page.wait_for_function(
        "last => Array.from(document.querySelectorAll('#experts img'), i => i.src).join() != last", arg=last
    )
    return expert_pictures(page)


def expert_pictures(page) -> str:
    page.wait_for_selector("#experts figure:nth-of-type(20)")
    return page.eval_on_selector_all("#experts img", "imgs => imgs.map(img => img.src).join()")


def generate(page) -> None:
    page.click("#generate")
    page.wait_for_selector("#status .run.idle >> text=Made from", timeout=30_000)
