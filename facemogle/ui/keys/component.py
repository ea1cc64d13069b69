"""The page by keyboard: links that skip to its parts, Ctrl+Enter, a sheet of all shortcuts, and a way out by Escape.

Presses, too: one on Generate waits while fields are filled.
"""

from facemogle.ui.component import PageComponent, beside

_SCRIPTS = ("document", "layers", "hold", "keys")  # one function

SHEET = {  # what is done, by which keys
    "Anywhere": {
        "Generate": ["Ctrl+Enter"],
        "This sheet": ["?"],
        "Shut what is open over the page": ["Escape"],
    },
    "On the map": {
        "Brush, eraser, fill": ["B", "E", "F"],
        "Lasso, move, pick": ["L", "V", "I"],
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
    """Stands first on the page, so that the first Tab finds the links."""

    def __init__(self, *, elem_id: str | None = None):
        super().__init__(
            elem_id=elem_id,
            **beside(__file__, "keys", scripts=_SCRIPTS),
            places=[
                {"name": "the map", "selector": "#label-editor canvas"},
                {"name": "the prompt", "selector": "#prompt textarea"},
                {"name": "Generate", "selector": "#generate"},
                {"name": "the result", "selector": "#result [role=tab]"},
            ],
            groups=[
                {"name": name, "rows": [{"what": what, "keys": keys} for what, keys in rows.items()]}
                for name, rows in SHEET.items()
            ],
        )
