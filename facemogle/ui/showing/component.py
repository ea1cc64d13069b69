"""In what order the page changes the visit, and asks for what it shows of it: of two answers under way, the older may
come last.
"""

import json
from typing import Any

from facemogle.ui.component import PageComponent, script_beside

# What an event listener waits for that is to be answered alone.
TURN = """(...values) => new Promise((begin) => {
  document.dispatchEvent(new CustomEvent("facemogle:turn", { detail: () => begin(values) }));
})"""


class Showing(PageComponent):
    """Shows nothing of its own. Its events `views`, `face` and `comparison` come one at a time, each to be answered
    from the visit as it then is. What changes the visit takes turns with them, and comes before them.
    """

    def __init__(self, *, elem_id: str | None = None, render: bool = True):
        super().__init__(elem_id=elem_id, render=render, **script_beside(__file__, "showing"))

    def wire(self, event: str, private: dict[str, Any], **answering: Any) -> None:
        """answering: fn, inputs and outputs of what answers it."""
        # Which of the same requests goes out is decided in the page.
        _ended(getattr(self, event)(**answering, queue=False, trigger_mode="multiple", **private), private)

    def take_turn(
        self,
        asked: Any,
        private: dict[str, Any],
        *,
        then: dict[str, Any] | None = None,
        show: tuple[str, ...] = ("views",),
        **answering: Any,
    ) -> None:
        """Let the answer to an event that is `asked`, which changes the visit or fills fields, take its turn.

        answering: as in `wire`; its js, where it has one, waits for TURN. then: a listener in the page, before what it
        changed is to `show`.
        """
        answered = asked(**{"js": TURN} | answering, queue=False, trigger_mode="multiple", **private)
        _ended(answered, private, *show, "filled", then=then)


def _ended(answered: Any, private: dict[str, Any], *events: str, then: dict[str, Any] | None = None) -> None:
    """Tell the page that it is, even by a failure, of which Gradio tells no `then`; and what is to be shown."""
    done = answered.success(**then, **private) if then else answered
    for end in (done.success, answered.failure):
        end(**_telling("shown", events), **private)


def asking(*events: str) -> dict[str, Any]:
    """Of an event listener, in the page alone: what is to be shown anew, in this order; see showing.js."""
    return _telling("show", events)


def _telling(name: str, events: tuple[str, ...]) -> dict[str, Any]:
    detail = json.dumps(events)
    script = f'() => {{ document.dispatchEvent(new CustomEvent("facemogle:{name}", {{ detail: {detail} }})); }}'
    return {"fn": None, "inputs": None, "outputs": None, "js": script}
