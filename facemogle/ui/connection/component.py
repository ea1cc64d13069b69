"""Whether the server answers: a page that has lost it says so, and goes on by itself once it is back."""

from pathlib import Path

from facemogle.ui.component import PageComponent

_HERE = Path(__file__).parent


class Connection(PageComponent):
    """A line that shows while the server does not answer. The controls that need it wait meanwhile."""

    def __init__(self, *, elem_id: str | None = None):
        super().__init__(
            elem_id=elem_id,
            html_template=(_HERE / "connection.html").read_text("utf-8"),
            css_template=(_HERE / "connection.css").read_text("utf-8"),
            js_on_load=(_HERE / "connection.js").read_text("utf-8"),
            apply_default_css=False,
        )
