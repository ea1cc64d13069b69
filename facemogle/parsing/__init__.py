"""Photo -> label map: one module for each parser."""
