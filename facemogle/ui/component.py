"""What the page's own components share: gr.HTML with its template, style and script in files beside the Python."""

import re
from abc import ABCMeta
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable

from facemogle.ui.failures import plain

_COMMENT = re.compile(r"^\s*/\*.*?\*/", re.MULTILINE | re.DOTALL)


class WithoutStub(ComponentMeta):
    """Gradio's own writes a .pyi file beside a component's source, which type checkers then read in place of it."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]):
        if "__init__" in attributes:
            attributes["__init__"] = updateable(attributes["__init__"])
        return ABCMeta.__new__(cls, name, bases, attributes)


class PageComponent(gr.HTML, metaclass=WithoutStub):
    """Base of label editor, gating inspector and the like; gr.update works on their own properties, too.

    All take `render`, since Gradio makes a component anew for every update, gr.skip() among them, beside the layout.
    Unless one says otherwise, there is nothing to show programs as an example of its value.
    """

    def __getattr__(self, name: str) -> Any:
        """Events, but for its own properties: Gradio takes any name that the script quotes for an event."""
        if name in self.__dict__.get("props", ()):
            raise AttributeError(f"{name} is a property of the page's {type(self).__name__}: see its props.")
        return super().__getattr__(name)

    def example_payload(self) -> Any:
        return None

    def example_value(self) -> Any:
        return None


def beside(source: str, name: str, *, scripts: Sequence[str] = ()) -> dict[str, Any]:
    """Of gr.HTML: template, style and script of a component, from `name`.html, .css and .js beside its `source`.

    scripts: names of several .js files, which make one function in this order.
    """
    template, style, *parts = (
        Path(source).with_name(file).read_text("utf-8")
        for file in (f"{name}.html", f"{name}.css", *(f"{script}.js" for script in scripts or [name]))
    )
    return {
        "html_template": lean(template),
        "css_template": lean(style),
        "js_on_load": lean("\n".join(parts)),
        "apply_default_css": False,
    }


def script_beside(source: str, name: str) -> dict[str, Any]:
    """The same of a component that shows nothing of its own, and is a script alone."""
    script = Path(source).with_name(f"{name}.js").read_text("utf-8")
    return {"html_template": "", "js_on_load": lean(script), "apply_default_css": False}


def lean(source: str) -> str:
    """Without indentation and lines of comment, which every visitor would load."""
    lines = (line.strip() for line in _COMMENT.sub("", source).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def answered(function: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """A server function, which takes what anyone may send: what goes wrong is {"error"} in words."""

    @wraps(function)
    def answering(sent: Any) -> dict[str, Any]:
        try:
            return function(sent)
        except Exception as error:
            return {"error": plain(error)}

    return answering
