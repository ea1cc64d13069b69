"""In what order the page asks for what it shows of the visit: of two answers under way, the older may come last."""

import json
from typing import Any

from facemogle.ui.component import PageComponent, script_beside

ENDED = '() => { document.dispatchEvent(new Event("facemogle:shown")); }'


class Showing(PageComponent):
    """Shows nothing of its own. Its events `views`, `face` and `comparison` come one at a time, each to be answered
    from the visit as it then is; the answer's end is told by the script ENDED.
    """

    def __init__(self, *, elem_id: str | None = None, render: bool = True):
        super().__init__(elem_id=elem_id, render=render, **script_beside(__file__, "showing"))

    def wire(self, event: str, private: dict[str, Any], **answering: Any) -> None:
        """answering: fn, inputs and outputs of what answers it."""
        # Which of the same requests goes out is decided in the page.
        answered = getattr(self, event)(**answering, queue=False, trigger_mode="multiple", **private)
        answered.then(None, None, None, js=ENDED, **private)


def asking(*events: str) -> dict[str, Any]:
    """Of an event listener, in the page alone: what is to be shown anew, in this order; see showing.js."""
    detail = json.dumps(events)
    script = f'() => {{ document.dispatchEvent(new CustomEvent("facemogle:show", {{ detail: {detail} }})); }}'
    return {"fn": None, "inputs": None, "outputs": None, "js": script}
