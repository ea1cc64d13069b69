"""Whether the server answers: a page that has lost it says so, and goes on by itself once it is back."""

from facemogle.ui.component import PageComponent, beside


class Connection(PageComponent):
    """A line that shows while the server does not answer. The controls that need it wait meanwhile."""

    def __init__(self, *, elem_id: str | None = None, render: bool = True):
        super().__init__(
            elem_id=elem_id,
            render=render,
            **beside(__file__, "connection"),
        )
