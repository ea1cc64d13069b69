"""What the fields start from: what they held before a reload, or else what suits the checkpoint.

The page keeps them in the browser, for each checkpoint apart; the label editor keeps its map there by itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import gradio as gr

from facemogle.picture_files import Settings
from facemogle.ui.handlers import KEEP, MAX_IMAGES, restored
from facemogle.ui.provider import PipelineProvider

NOTHING = (*(KEEP,) * 6, None)  # no KEEP for the experts: before they are on the page, it would lose them


def wire(
    page: gr.Blocks,
    provider: PipelineProvider,
    fields: list[gr.components.Component],
    defaults: list[gr.components.Component],
    private: dict[str, Any],
) -> Any:
    """Fill the fields when the page opens, and keep what they change to -> the event that fills in the defaults.

    fields: prompt, seed, num_images, steps, guidance, condition scale, expert scales; defaults: steps, guidance.
    """
    key = json.dumps(f"facemogle-settings-{provider.checkpoint}")
    # Storage may be full, blocked or changed by others, and the page works all the same.
    keep = f"(...values) => {{ try {{ localStorage.setItem({key}, JSON.stringify(values)); }} catch {{}} }}"
    recall = f"() => {{ try {{ return [localStorage.getItem({key})]; }} catch {{ return [null]; }} }}"
    kept = gr.Textbox(visible=False)
    gr.on([field.change for field in fields], None, fields, None, js=keep, **private)  # type: ignore[attr-defined]
    page.load(lambda kept: read(kept) or NOTHING, kept, fields, js=recall, queue=False, **private)
    awaiting = partial(await_defaults, provider)
    return page.load(awaiting, kept, defaults, js=recall, concurrency_limit=None, **private)


async def await_defaults(provider: PipelineProvider, kept: str | None) -> AsyncIterator[tuple[Any, Any]]:
    """Yield (steps, guidance) of the checkpoint once its weights are there, unless the browser kept others.

    Asynchronous, so that many visitors of a long download take no threads.
    """
    yield KEEP, KEEP
    while provider.loading:
        yield KEEP, KEEP
        await asyncio.sleep(1)
    if not (read(kept) or provider.failure):
        config = provider.get().config
        yield config.num_inference_steps, config.guidance_scale


def read(kept: str | None) -> tuple | None:
    """What the browser kept, as JSON, from anyone at all -> updates of the fields; None where it is unusable."""
    try:
        prompt, seed, num_images, steps, guidance, condition, expert_scale = json.loads(kept or "")
        settings = Settings(prompt, None, seed, steps, guidance, condition, 1, 1, expert_scale or None, "")
    except (ValueError, TypeError, RecursionError):
        return None
    if type(num_images) is not int or not 1 <= num_images <= MAX_IMAGES:
        return None
    _, *fields = restored(settings, num_images)
    return tuple(fields)
