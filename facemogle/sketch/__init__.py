"""A line drawing of a face becomes a label map: see `read_sketch`."""

from facemogle.sketch.files import line_drawing_in, read_drawing
from facemogle.sketch.lines import is_chalk_drawing, is_line_drawing
from facemogle.sketch.read import NOTHING_NAME, Doubtful, Sketch, in_words, read_sketch

__all__ = [
    "NOTHING_NAME",
    "Doubtful",
    "Sketch",
    "in_words",
    "is_chalk_drawing",
    "is_line_drawing",
    "line_drawing_in",
    "read_drawing",
    "read_sketch",
]
