"""What went wrong, in the page's words: an error's own are for those who call Python."""

import inspect
import re
from functools import cache

# Part of what an error says -> what the page says instead.
PLAIN = {
    "is False everywhere": "The region is smaller than a pixel of the picture. Paint more of it.",
    "do not differ": "Nothing is free to change yet. Repaint a part of the map, or mark a region that may change.",
    "mutes all": "All experts are muted, and someone has to speak: give one of them a factor above 0.",
    "became NaN": "The picture came out broken. Bring Guidance and the experts' factors nearer to 1, and try again.",
    "out of memory": "The memory does not suffice. Ask for fewer pictures at once, and try again.",
}
OTHERWISE = "It did not work, for a reason that the page does not know; the server's log tells more."


def plain(error: BaseException) -> str:
    """What a person at the page is told of an error."""
    text = str(error).strip()
    for part, said in PLAIN.items():
        if part in text:
            return said
    slip = isinstance(error, (TypeError, LookupError, AttributeError, AssertionError))  # of ours
    return OTHERWISE if slip or not text or speaks_python(text) else text


def speaks_python(text: str) -> bool:
    """Whether it names what only a caller of Python has: an argument, a type, a call."""
    return any(word in _arguments() for word in re.findall(r"\w+", text)) or bool(
        re.search(r"\w\(\)|<class|dtype", text)
    )


@cache
def _arguments() -> frozenset[str]:
    """The pipeline's, as far as they are no words of language."""
    from facemogle.pipeline import FaceMoGLEPipeline

    return frozenset(name for name in inspect.signature(FaceMoGLEPipeline.__call__).parameters if "_" in name)
