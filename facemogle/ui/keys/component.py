"""The page by keyboard: links that skip to its parts, Ctrl+Enter, a sheet of all shortcuts, and a way out by Escape.

Presses, too: one on Generate waits while fields are filled.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from facemogle.ui.component import PageComponent, beside

_SCRIPTS = ("document", "layers", "hold", "keys")  # one function

PLACES = {  # to skip to
    "the map": "#label-editor canvas",
    "the prompt": "#prompt textarea",
    "Generate": "#generate",
    "the result": "#result [role=tab]",
}
SHEET = {  # what is done, by which keys
    "Anywhere": {
        "This sheet": ["?"],
        "Shut what is open over the page": ["Escape"],
    },
    "On the map": {
        "Brush, eraser, fill": ["B", "E", "F"],
        "Lasso, pencil": ["L", "P"],
        "Move, pick": ["V", "I"],
        "Class 0 to 9, 10 to 18": ["0…9", "Shift+0…8"],
        "Smaller, larger brush": ["[", "]"],
        "Straight line": ["Shift"],
        "Pick the class under the pointer": ["Alt"],
        "Mirror": ["M"],
        "This class alone": ["S"],
        "Undo, redo": ["Ctrl+Z", "Ctrl+Shift+Z"],
        "Zoom": ["+", "-"],
        "Move the view": ["Space and drag"],
        "Move the brush": ["←", "↑", "→", "↓"],
        "Paint where the brush is": ["Space"],
        "Paint the region": ["R"],
    },
    "In lists of classes and experts": {"Go through them": ["←", "↑", "→", "↓"]},
}


class Keys(PageComponent):
    """Stands first on the page, so that the first Tab finds the links.

    does: what a click on #generate does, and by which keys; places: names and selectors of what one may skip to.
    """

    def __init__(
        self,
        *,
        does: Mapping[str, Sequence[str]] = MappingProxyType({"Generate": ["Ctrl+Enter"]}),
        places: Mapping[str, str] = MappingProxyType(PLACES),
        elem_id: str | None = None,
        render: bool = True,
    ):
        sheet = SHEET | {"Anywhere": {**does, **SHEET["Anywhere"]}}
        super().__init__(
            elem_id=elem_id,
            render=render,
            **beside(__file__, "keys", scripts=_SCRIPTS),
            places=[{"name": name, "selector": selector} for name, selector in places.items()],
            groups=[
                {"name": name, "rows": [{"what": what, "keys": keys} for what, keys in rows.items()]}
                for name, rows in sheet.items()
            ],
        )
