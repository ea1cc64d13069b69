"""What programs may send to the API's fields, and how they are told what is wrong: in words that name the field."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from facemogle.ui.component import WithoutStub
from facemogle.ui.failures import plain

MAX_TEXT = 20_000  # characters


class Text(gr.Textbox, metaclass=WithoutStub):
    """Takes text alone, where Gradio makes text of whatever it is sent."""

    is_template = True  # the page shows gr.Textbox

    def preprocess(self, payload: Any) -> str | None:
        if not (payload is None or (isinstance(payload, str) and len(payload) <= MAX_TEXT)):
            what = f"{len(payload)} characters" if isinstance(payload, str) else type(payload).__name__
            raise gr.Error(f"{self.label} must be text of at most {MAX_TEXT} characters, got {what}.",
                           print_exception=False)  # fmt: skip
        return payload


class Number(gr.Number, metaclass=WithoutStub):
    """Takes numbers alone, and with precision=0 whole ones: what is none gets a message that names the field."""

    is_template = True  # the page shows gr.Number

    def preprocess(self, payload: Any) -> float | int | None:
        number = isinstance(payload, (int, float)) and not isinstance(payload, bool) and abs(payload) < float("inf")
        if payload is not None and not (number and (self.precision is None or payload == int(payload))):
            kind = "number" if self.precision is None else "whole number"
            raise gr.Error(f"{self.label} must be a {kind}, got {str(payload)[:40]!r}.", print_exception=False)
        return super().preprocess(payload)


class Names(gr.Dropdown, metaclass=WithoutStub):
    """Takes a list of some of its choices."""

    is_template = True  # the page shows gr.Dropdown

    def __init__(self, choices: Sequence[str], *, label: str):
        super().__init__(list(choices), value=None, multiselect=True, label=label)

    def preprocess(self, payload: Any) -> list[str] | None:  # type: ignore[override]
        known = [str(value) for _, value in self.choices]
        if not (payload is None or (isinstance(payload, list) and all(one in known for one in payload))):
            raise gr.Error(f"{self.label} must be a list of some of {', '.join(known)}, got {str(payload)[:80]}.",
                           print_exception=False)  # fmt: skip
        return payload


class Switch(gr.Checkbox, metaclass=WithoutStub):
    """Takes true and false alone."""

    is_template = True  # the page shows gr.Checkbox

    def preprocess(self, payload: Any) -> bool:
        if not isinstance(payload, bool):
            raise gr.Error(f"{self.label} must be true or false, got {str(payload)[:40]!r}.", print_exception=False)
        return payload


def given(name: str, path: str | None) -> str:
    if path is None:
        raise gr.Error(f"{name} must be a file, got none.", print_exception=False)
    return path


def explain_inputs(page: gr.Blocks) -> None:
    """What Gradio itself refuses to take, such as a file of the server's, gets words; it would send none."""
    preprocess = page.preprocess_data

    async def explaining(function: Any, inputs: list[Any], *others: Any) -> list[Any]:
        try:
            return await preprocess(function, inputs, *others)
        except gr.Error as error:
            error.print_exception = False  # a visitor's mistake, told to the visitor: no traceback in the log
            raise
        except Exception as error:
            fields = ", ".join(getattr(block, "label", None) or type(block).__name__ for block in function.inputs)
            raise gr.Error(
                f"What was sent is not what is taken here: {fields}. A file is one that was uploaded here, or has a "
                "public address, sent as gradio_client's handle_file does.",
                print_exception=not isinstance(error, ValueError),
            ) from error

    page.preprocess_data = explaining  # type: ignore[assignment, method-assign]


@contextmanager
def explained(path: str | None, field: str = "") -> Iterator[None]:
    """What is wrong reaches the caller as a message that names the field, without the folder that its file has here."""
    try:
        yield
    except Exception as error:
        expected = isinstance(error, (ValueError, IndexError, OSError, gr.Error))
        message = str(error) if expected else plain(error)
        if path is not None:
            message = message.replace(path, Path(path).name)
        raise gr.Error(f"{field}: {message}" if field else message, print_exception=not expected) from error


def saved(name: str, write: Callable[[Path], Any]) -> str:
    """A file in the folder that Gradio serves and cleans up -> its path."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return save_bytes_to_cache((Path(folder) / name).read_bytes(), name, get_upload_folder())
