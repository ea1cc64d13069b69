"""Which face is shown, and what can be done with it besides saving: go back, skip it, say that it is not usable."""

from facemogle.ui.component import PageComponent, beside
from facemogle.ui.correction.session import REASONS


class Onward(PageComponent):
    """Its value is the key of the face.

    The events `back`, `skip`, and `reject` with the reason as its `why`; and `start`, once the editor is there. Enter,
    where it does nothing else, is a click on Save. A caption that is being written stays in the browser.
    """

    def __init__(self, value: str = "", *, elem_id: str | None = None, render: bool = True):
        super().__init__(value, elem_id=elem_id, render=render, **beside(__file__, "onward"), reasons=list(REASONS))
