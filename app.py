"""Face-MoGLE in the browser: `python app.py`, and the entry point of a Hugging Face Space."""

import argparse
import atexit
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

from facemogle.ui.start import check_address
from facemogle.ui.temp_folder import LIMIT, own_folder

os.environ["GRADIO_TEMP_DIR"] = str(own_folder().path)  # and so is this

import gradio as gr
import spaces  # before torch, on which it acts where there is a ZeroGPU

from facemogle.checkpoints import (
    CheckpointError,
    available,
    default_parser,
    default_settings,
    describe,
    load_parser,
    load_pipeline,
    lora_scales,
    parser_available,
    parser_of,
    parsers,
    prompt_suggestions,
    prompt_words,
)
from facemogle.data.face_set import FOLDERS, RECORDS, FaceSet
from facemogle.folders import own_folder as own_data
from facemogle.presets import (
    CONDITION_REFRESH_HELP,
    PRESET_HELP,
    PRESETS,
    STEP_CACHE_CHOICES,
    STEP_CACHE_HELP,
    fitting_preset,
    preset_available,
)
from facemogle.threads import spin_shortly
from facemogle.ui import layout
from facemogle.ui.check import check
from facemogle.ui.correction import page as correction
from facemogle.ui.examples import load_examples
from facemogle.ui.gpu_times import GpuTimes
from facemogle.ui.guard import LOOPBACK
from facemogle.ui.health import health_route
from facemogle.ui.photo.handlers import Parsers
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import warm_up

if TYPE_CHECKING:
    from facemogle.pipeline import FaceMoGLEPipeline

EXAMPLES = Path(__file__).parent / "assets" / "examples"
ON_ZERO_GPU = bool(os.environ.get("SPACES_ZERO_GPU"))

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is interrupted, or try it once -> the process's exit code."""
    spin_shortly()
    arguments = parse_arguments(argv)
    check_address(arguments.host, arguments.port)
    if arguments.correct:
        return correct(arguments)
    folder = own_folder()
    folder.limit = arguments.temp_limit
    folder.keep_swept()
    atexit.register(folder.remove)
    log_runs()
    page, provider = build(arguments)
    options = layout.launch_options(
        hosts=asked_hosts(arguments.host, share=arguments.share),
        routes=[health_route(provider, folder)],
        files=arguments.mcp_files,
    )
    page.launch(
        server_name=arguments.host,
        server_port=arguments.port,
        share=arguments.share,
        mcp_server=arguments.mcp,
        prevent_thread_lock=arguments.check,
        **options,
    )
    if not arguments.check:
        return 0
    first, *_ = load_examples(EXAMPLES)
    return check(page, provider, first.label_map)


def correct(arguments: argparse.Namespace) -> int:
    """Serve the page on which a data set is corrected, until it is interrupted -> the process's exit code."""
    if arguments.share or arguments.mcp or os.environ.get("SPACE_ID"):
        sys.exit("--correct writes files, and so is for one's own machine: neither --share, --mcp nor a Space has it.")
    folder = arguments.correct
    if not (folder / RECORDS).is_dir():
        sys.exit(f"{folder} is no data set of `python -m train.data build`. Make one first: see train/README.md.")
    try:
        with own_data(folder, *FOLDERS):
            faces = FaceSet(folder)
            faces.settle()
            options = correction.launch_options(hosts=asked_hosts(arguments.host, share=False))
            correction.build(faces).launch(server_name=arguments.host, server_port=arguments.port, **options)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    return 0


def build(arguments: argparse.Namespace) -> tuple[gr.Blocks, PipelineProvider]:
    """The page as the arguments want it, and what loads its pipeline, which has begun."""
    parts = {"adapter": arguments.adapter, "mogle": arguments.mogle}
    loras = lora_scales(arguments.lora)
    name = arguments.checkpoint or choose_checkpoint(**parts, preset=arguments.preset)
    # Where a visitor's GPU is not there yet, nothing can be asked of it: its memory holds all of FLUX.
    preset = arguments.preset or ("quality" if ON_ZERO_GPU else None)
    provider = PipelineProvider(
        describe_parts(name, **parts, loras=loras),
        partial(
            load_with_blocks,
            arguments.blocks,
            name,
            preset=preset,
            step_cache=arguments.step_cache,
            condition_refresh=arguments.condition_refresh,
            **parts,
            loras=loras,
        ),
        checkpoint=name,
        loras=loras,
        in_thread=not ON_ZERO_GPU,  # which emulates CUDA in the main thread, before the launch
        warm_up=warm_up,
    )
    times = GpuTimes(provider.picture_size)
    parser, load = parser_of(name), cache(load_parser)
    page = layout.build(
        provider,
        load_examples(EXAMPLES),
        suggestions=prompt_suggestions(name),
        prompt_words=prompt_words(name),
        defaults=default_settings(name),
        load_parser=partial(load, parser) if parser else None,
        parsers=Parsers(parsers(), load, parser_available, default_parser()),
        live=not ON_ZERO_GPU,  # where every stroke would wait for a GPU
        on_gpu=lambda generate: times.watched(spaces.GPU(duration=times.wanted)(generate)),
    )
    return page, provider


def load_with_blocks(blocks: str | None, *place, **options) -> "FaceMoGLEPipeline":
    """As load_pipeline, and with compiled blocks from a folder or the Hub; without where they are not for it."""
    pipeline = load_pipeline(*place, **options)
    if blocks:
        from facemogle.compiled_blocks import load_compiled_blocks

        try:
            load_compiled_blocks(pipeline.transformer, blocks)
        except CheckpointError as error:
            logger.warning(f"Blocks run from Python: {error}")
    return pipeline


def asked_hosts(host: str | None, *, share: bool) -> frozenset[str] | None:
    """The names that the page answers to; None, any, where it is to be reached from elsewhere."""
    host = host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    return None if share or host not in LOOPBACK or os.environ.get("SPACE_ID") else LOOPBACK


def log_runs() -> None:
    """A line for every run, on the standard error output."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger("facemogle.runs").addHandler(handler)
    logging.getLogger("facemogle.runs").setLevel(logging.INFO)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Paint a label map, type a prompt, see the face.")
    add = parser.add_argument
    add("--checkpoint", default=os.environ.get("FACEMOGLE_CHECKPOINT"), metavar="mini|flux|PATH",
        help="a name, a folder or a Hub id (default: FACEMOGLE_CHECKPOINT; else flux where its weights and a GPU "
        "for one of the presets are, and on a Space with ZeroGPU and HF_TOKEN; else mini)")  # fmt: skip
    add("--preset", choices=PRESETS, help=PRESET_HELP)
    add("--step-cache", choices=STEP_CACHE_CHOICES, help=STEP_CACHE_HELP)
    add("--condition-refresh", type=int, choices=range(1, 51), default=1, metavar="K", help=CONDITION_REFRESH_HELP)
    what = "a folder, or a Hub id, of `python -m facemogle compile`, which is as trusted as a program: blocks that are "
    what += "compiled already (default: FACEMOGLE_BLOCKS)"
    add("--blocks", default=os.environ.get("FACEMOGLE_BLOCKS"), metavar="FOLDER", help=what)
    add("--adapter", metavar="FILE", help="LoRA weights in place of the checkpoint's")
    add("--mogle", metavar="FILE", help="MoGLE weights in place of the checkpoint's")
    what = "a LoRA of the base, such as a style, in any naming, with its scale behind a colon; may be repeated"
    add("--lora", action="append", default=[], metavar="FILE[:SCALE]", help=what)
    add("--share", action="store_true", help="also serve at a public address, through Gradio's server")
    add("--mcp", action="store_true", help="also serve the API as tools to AI agents, by MCP")
    add("--mcp-files", type=existing_folder, metavar="FOLDER",
        help="with --mcp, for agents on this computer alone: the tools may read pictures in this folder")  # fmt: skip
    add("--host", help="address to listen on (default: 127.0.0.1; 0.0.0.0 for the local network)")
    add("--port", type=port, help="port to listen on (default: the first free one from 7860)")
    add("--correct", type=Path, metavar="DATA", help="correct the label maps of a data set of `python -m train.data "
        "build` instead, one face after another")  # fmt: skip
    add("--check", action="store_true", help="try the whole path once, and exit with 0 or with what is missing")
    add("--temp-limit", type=gigabytes, default=LIMIT, metavar="GB",
        help=f"what visitors' files, kept for two hours, may take of the disk (default: {LIMIT:g})")  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.mcp_files is not None and not arguments.mcp:
        parser.error("--mcp-files opens a folder to the tools of --mcp. Give that, too.")
    if arguments.mcp_files is not None and asked_hosts(arguments.host, share=arguments.share) is None:
        parser.error("--mcp-files would open the folder to whoever reaches the page. Leave out --host and --share.")
    return arguments


def existing_folder(text: str) -> Path:
    """Resolved, so that it stays the same one."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text).resolve()


def gigabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected GB, at least 0.1, got {text[:40]!r}")
    return value


def port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 65535, got {text[:40]!r}")
    return int(text)


def choose_checkpoint(*, adapter: str | None, mogle: str | None, preset: str | None = None) -> str:
    """flux on a ZeroGPU Space that may download it, or where its files are and a GPU holds a preset of it; else mini.

    The environment variable FACEMOGLE_CHECKPOINT overrides it.
    """
    if ON_ZERO_GPU and os.environ.get("HF_TOKEN"):
        return "flux"
    if not available("flux", adapter=adapter, mogle=mogle):
        return "mini"
    import torch

    if not torch.cuda.is_available():
        return "mini"
    fitting = preset or fitting_preset(torch.cuda.mem_get_info(0)[0] / 1e9)
    return "flux" if fitting and preset_available(fitting) else "mini"


def describe_parts(name: str, *, adapter: str | None, mogle: str | None, loras: Iterable[str] = ()) -> str:
    """One line on the checkpoint, and on what stands in place of its own parts."""
    own = [f"{part} {path}" for part, path in (("adapter", adapter), ("MoGLE", mogle)) if path]
    own += [f"LoRA {path}" for path in loras]
    return f"{describe(name)}, with {' and '.join(own)}" if own else describe(name)


if __name__ == "__main__":
    code = main()
    own_folder().remove()
    os._exit(code)  # the threads of a download would hold up the exit until it is done
