"""Face-MoGLE: paint a face by its label map, and see why the model did what it did (arXiv 2509.00428)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facemogle.checkpoints import load_pipeline
    from facemogle.faces import parse_face
    from facemogle.pipeline import FaceMoGLEPipeline

__all__ = ["FaceMoGLEPipeline", "load_pipeline", "parse_face"]


def __getattr__(name: str):
    # On first use, since torch and diffusers take seconds to import and `--help` needs neither.
    if name == "load_pipeline":
        from facemogle.checkpoints import load_pipeline

        return load_pipeline
    if name == "parse_face":
        from facemogle.faces import parse_face

        return parse_face
    if name == "FaceMoGLEPipeline":
        from facemogle.pipeline import FaceMoGLEPipeline

        return FaceMoGLEPipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
