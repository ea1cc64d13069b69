"""The pipeline behind the page: loaded once, in a thread, while the page is already up."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from facemogle.masks import picture_size
from facemogle.presets import PRESETS
from facemogle.ui import torch_thread

if TYPE_CHECKING:
    import numpy as np

    from facemogle.pipeline import FaceMoGLEPipeline


class PipelineProvider:
    """Calls `load` at once, in a thread or, where CUDA must be set up in the calling thread, there.

    `description` tells the page's visitors what is loaded, `checkpoint` is its name, `loras` go with it at their
    scales. `warm_up` is called with it in torch's thread, ahead of the first run, if it was loaded in a thread.
    """

    def __init__(
        self,
        description: str,
        load: Callable[[], FaceMoGLEPipeline],
        *,
        checkpoint: str = "",
        loras: Mapping[str, float] | None = None,
        in_thread: bool = True,
        warm_up: Callable[[FaceMoGLEPipeline], object] | None = None,
    ):
        self.description = description
        self.checkpoint = checkpoint
        self.loras = dict(loras or {})
        self._load = load
        self._in_thread = in_thread
        self._warm_up = warm_up
        self._start()

    @property
    def loading(self) -> bool:
        return not self._loaded.done()

    @property
    def failure(self) -> BaseException | None:
        """What `load` raised, if it has."""
        return None if self.loading else self._loaded.exception()

    def get(self) -> FaceMoGLEPipeline:
        """Wait for the pipeline; raises what `load` raised."""
        return self._loaded.result()[0]

    def details(self) -> str:
        """Size and place of the pipeline in words, once it is there."""
        return self._loaded.result()[1]

    def picture_size(self, label_map: np.ndarray | None) -> tuple[int, int]:
        """(height, width) of the picture that a label map gets; of FLUX's before the pipeline is there."""
        return (512, 512) if self.loading or self.failure else picture_size(self.get(), label_map)

    def retry(self) -> None:
        """Load again if loading in a thread failed: the person may have followed the remedy since."""
        if self._in_thread and self.failure:
            self._start()

    def waiting(self, *, every: float = 0.2) -> Iterator[None]:
        """Yield again and again for as long as loading goes on."""
        while self.loading:
            yield
            time.sleep(every)

    def _start(self) -> None:
        self._loaded: Future[tuple[FaceMoGLEPipeline, str]] = Future()
        if self._in_thread:  # a daemon: an executor's threads would hold up the exit until a download is done
            threading.Thread(target=self._fulfil, args=(self._loaded,), name="load", daemon=True).start()
        else:
            self._fulfil(self._loaded)

    def _fulfil(self, loaded: Future[tuple[FaceMoGLEPipeline, str]]) -> None:
        try:
            pipeline = self._load()
            if self._warm_up and self._in_thread:
                torch_thread.submit(self._warm_up, pipeline)
            loaded.set_result((pipeline, describe(pipeline)))  # ZeroGPU tells the device in the loading thread alone
        except Exception as error:  # kept for the page
            loaded.set_exception(error)


def describe(pipeline: FaceMoGLEPipeline) -> str:
    """Size and place of a pipeline in words."""
    modules = [module for module in pipeline.components.values() if hasattr(module, "parameters")]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    packed = [getattr(parameter, "quant_state", None) for parameter in parameters]  # bitsandbytes' two values a byte
    count = sum(math.prod((one or each).shape) for one, each in zip(packed, parameters, strict=True))
    size = f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:.1f} million"
    preset = f", preset {pipeline.preset} ({PRESETS[pipeline.preset].summary})" if pipeline.preset else ""
    return f"{size} parameters on {pipeline._execution_device.type.upper()}{preset}"
