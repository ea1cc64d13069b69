"""What the page's own components share: gr.HTML with its template, style and script in files beside the Python."""

from abc import ABCMeta
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable


class WithoutStub(ComponentMeta):
    """Gradio's own writes a .pyi file beside a component's source, which type checkers then read in place of it."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]):
        if "__init__" in attributes:
            attributes["__init__"] = updateable(attributes["__init__"])
        return ABCMeta.__new__(cls, name, bases, attributes)


class PageComponent(gr.HTML, metaclass=WithoutStub):
    """Base of label editor, gating inspector and the like; gr.update works on their own properties, too."""
