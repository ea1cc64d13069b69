"""A line drawing of a face becomes a label map: see `read_sketch`."""

from facemogle.sketch.files import LineDrawing, line_drawing_in, read_drawing
from facemogle.sketch.lines import line_tone
from facemogle.sketch.read import NOTHING_NAME, Doubtful, Sketch, in_words, read_sketch

__all__ = [
    "NOTHING_NAME",
    "Doubtful",
    "LineDrawing",
    "Sketch",
    "in_words",
    "line_drawing_in",
    "line_tone",
    "read_drawing",
    "read_sketch",
]
