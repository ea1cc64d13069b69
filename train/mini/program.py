"""The making of `mini`, from nothing or from a checkpoint, in one go: phases bounded by time, one after the other."""

import gc
import resource
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import diffusers
import numpy as np
import torch
import transformers
from diffusers import attention_backend
from torch import Tensor

from facemogle.checkpoints import load_pipeline
from facemogle.labels import to_colours
from facemogle.step_graph import StepGraphs
from train import saving
from train.mini import model as models
from train.mini.config import PHASES, MiniConfig, Phase
from train.mini.export import export
from train.mini.feeder import Feed, Recipe
from train.mini.guidance import Teacher
from train.mini.latent_code import fit_latent_code
from train.mini.linear_vae import hold_constants, set_linear
from train.mini.log import Log
from train.mini.loop import Draw, Lesson, learn
from train.mini.objective import Batch, Sampler, losses, prepare
from train.mini.parser import ParserLesson
from train.mini.pool import Pool
from train.mini.portraits import World, sample_attributes
from train.mini.rarity import Rarity
from train.mini.report import sheet as in_rows
from train.mini.report import table
from train.mini.samples import PairRecipe, PortraitRecipe, load
from train.mini.vae import DecoderLesson, build, code_of
from train.mini.words import AttributeHeads, words_loss

COUNTED = 2_000  # portraits, to tell what is rare
FITTED = 600  # portraits, to fit the latent code
SMOKE_SECONDS = 8.0  # of each phase


@cache
def rarity(world: World | None) -> Rarity:
    draw = np.random.default_rng(0)
    return Rarity.of([sample_attributes(draw, world) for _ in range(COUNTED)])


class Run:
    """The weights so far, and what every phase needs. `done`: the phases that are over, and whether they succeeded."""

    def __init__(self, config: MiniConfig, log: Log):
        quietly()
        self.config, self.log = config, log
        self.file, self.checkpoint = config.folder / "weights.pt", config.folder / "checkpoint.pt"
        self.rarity = rarity(config.world)
        self.done: dict[str, bool] = {}
        self.vae = build(config)
        if config.start_from:
            start = load_pipeline(config.start_from, dtype=torch.float32, device="cpu")
            self.model = models.from_checkpoint(start, config.start_from, config)
            self.vae.load_state_dict(start.vae.state_dict())
        else:
            self.model = models.from_nothing(config)
        known = self.file.exists()
        if known:
            self.load()
        tokenizers = self.model.encoders.word_tokenizers()
        self.portraits = self._feed(PortraitRecipe(config, tokenizers, self.rarity))
        if not known and not config.start_from:
            count = min(FITTED, config.first_portraits)
            pool = Pool(self.portraits, "cpu", capacity=FITTED, share=1.0).gather(count)
            code = fit_latent_code(pool["images"][: len(pool)], pool["label_maps"][: len(pool), 0], config)
            set_linear(self.vae, code)
        self.code = code_of(self.vae).to(config.device)  # the pseudo-inverse is more exact on a CPU
        self.vae.to(config.device).requires_grad_(False)
        self.model.to(config.device).train().requires_grad_(True)
        torch.backends.cudnn.benchmark = True  # convolutions keep their shapes
        if config.compile:
            torch._dynamo.config.recompile_limit = 64  # blocks are compiled for every phase's shapes
            self.model.transformer.compile_repeated_blocks(dynamic=False)
        clip, t5 = (torch.tensor([each.encode("").ids], device=config.device) for each in tokenizers)
        self.empty = clip, t5  # the ids of a caption that says nothing

    def _feed(self, recipe: Recipe) -> Feed:
        config, cores = self.config, torch.multiprocessing.cpu_count()
        workers = config.workers or max(1, cores - 2 if config.device != "cpu" else cores // 4)
        # Those of the unseen split are never rendered.
        return Feed(recipe, workers=workers, slots=config.slots, seeds=range(config.test_seed))

    @cached_property
    def pool(self) -> Pool:
        """Portraits, with their latents."""
        config = self.config

        def derive(chunk: dict[str, Tensor]) -> dict[str, Tensor]:
            return chunk | {"latents": self.code.tokens(chunk["images"]).half()}

        pool = Pool(self.portraits, config.device, capacity=config.pool, share=config.pool_share, derive=derive)
        return pool.gather(min(config.first_portraits, pool.capacity))

    @property
    def sampler(self) -> Sampler:
        return Sampler(self.pool, self.empty, self.config)

    def save(self) -> None:
        weights = {"model": self.model.state_dict(), "vae": self.vae.state_dict()}
        saving.save(weights | {"done": self.done, "settings": self.config.settings()}, self.file)

    def load(self) -> None:
        """ValueError if they are of other settings, or damaged."""
        state = saving.load(self.file)
        if changed := [name for name, value in self.config.settings().items() if state["settings"].get(name) != value]:
            raise ValueError(
                f"{self.file} was trained with other settings ({', '.join(changed)}). "
                "Set them back to go on, or choose another --out."
            )
        self.model.load_state_dict(state["model"])
        self.vae.load_state_dict(state["vae"])
        self.done = state["done"]

    def learn(self, name: str, lesson: Lesson, seconds: float) -> None:
        config = self.config
        # Python launches a small model's kernels too slowly.
        graphs = StepGraphs() if config.compile and config.device != "cpu" else None
        seconds = max(1.0, seconds)
        learn(name, lesson, config, seconds=seconds, log=self.log, checkpoint=self.checkpoint, graphs=graphs)

    # The phases.

    def denoising(
        self,
        draw: Callable[[torch.Generator, Phase], Draw],
        target: Callable[[Draw, Batch], Tensor],
        heads: AttributeHeads | None = None,
    ) -> Lesson:
        """All parts learn to make `target` of a draw, a velocity (B, N, C)."""
        model, config = self.model, self.config

        def loss(draw: Draw) -> dict[str, Tensor]:
            batch = prepare(draw, self.code)
            with models.autocast(config.device):
                wanted = target(draw, batch)
                text = model.encoders(draw["clip"], draw["t5"])
                velocity, gating_weights = model(
                    *text, batch.condition, batch.noisy, draw["timestep"], draw["guidance"]
                )
                logits = heads(*text) if heads else None
            parts = losses(velocity, gating_weights, wanted, draw["guidance"], batch, config)
            if logits is None:
                return parts
            words = words_loss(logits, draw["attributes"], draw["silent"])
            return parts | {"loss": parts["loss"] + config.words_weight * words, "words": words}

        modules = dict(model.named_children()) | ({"heads": heads} if heads else {})
        return Lesson(modules, draw, loss, {"encoders": config.text_rate})

    def flow(self, seconds: float) -> None:
        """Everything at once, on flow matching; the text encoders also on what the captions tell."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            heads = AttributeHeads(self.config.text_width, self.rarity).to(self.config.device)
        lesson = self.denoising(self.sampler.draw, lambda draw, batch: batch.target, heads)
        self.learn("flow", lesson, seconds)

    def guidance(self, seconds: float) -> None:
        """Guidance as a number, taught by the average's passes with words, without, and with perturbed attention."""
        config, sampler, teacher = self.config, self.sampler, Teacher(self.model, self.empty, self.config)
        batch = config.phase("guidance").batch
        without_map, portraits = round(config.without_map * batch), int(config.portraits_share * batch)

        def draw(generator: torch.Generator, phase: Phase) -> Draw:
            drawn = sampler.draw(generator, phase, first_without_map=without_map)
            random = torch.rand(phase.batch, generator=generator, device=generator.device)
            drawn["guidance"] = 1 + (config.guidance_max - 1) * random
            drawn["guidance"][phase.batch - portraits :] = 1
            return drawn

        lesson = self.denoising(
            draw, lambda draw, batch: teacher.guided(draw, batch, without_map=without_map, portraits=portraits)
        )
        self.learn("guidance", lesson, seconds)

    def decoder(self, seconds: float) -> None:
        """From what the model draws. The portraits it redrew stay where they are meanwhile."""
        began = time.monotonic()
        decoder = DecoderLesson(self.vae, self.model, self.code, self.pool, self.config, seconds=seconds / 4)
        lesson = Lesson({"decoder": self.vae.decoder}, decoder.draw, decoder.loss)
        self.learn("decoder", lesson, seconds - (time.monotonic() - began))
        hold_constants(self.vae.decoder)
        self.vae.requires_grad_(False)

    def parser(self, seconds: float) -> None:
        """The network that reads label maps from portraits, which also judges what the model draws."""
        config = self.config
        self.portraits.stop()
        self.__dict__.pop("pool", None)  # gives its memory back
        with self._feed(PairRecipe(config)) as feed:
            pool = Pool(feed, config.device, capacity=config.pool, share=config.pool_share)
            pool.gather(config.first_portraits)
            lesson = ParserLesson(pool, config)
            self.learn("parser", Lesson({"parser": lesson.parser}, lesson.draw, lesson.loss), seconds)
            lesson.export(config.folder / "mini-parser")


def make(config: MiniConfig, phases: Sequence[str] = PHASES) -> list[str]:
    """Write `mini` and `mini-parser` into the run's folder, and a sheet -> the phases that failed.

    The same call goes on where a killed one stopped. A phase that fails leaves the weights of the one before it.
    """
    config.folder.mkdir(parents=True, exist_ok=True)
    log = Log(config.folder / "log.jsonl")
    run, total = Run(config, log), 60 * config.minutes - config.reserve_seconds
    with run.portraits, fast_attention(config.device):
        before = f"done before: {', '.join(run.done)}" if run.done else f"from {config.start_from or 'nothing'}"
        log.say(f"{config.device}, {len(run.portraits.workers)} workers, {before}")
        if not run.file.exists():
            run.save()
        for name in phases:
            if name in run.done:
                continue
            shares = [config.phase(each).share for each in phases if each not in run.done]
            seconds = (total - log.seconds()) * config.phase(name).share / sum(shares)
            log.say(f"{name}: {seconds:.0f} s")
            run.done[name] = attempt(run, name, seconds)
            run.checkpoint.unlink(missing_ok=True)
            run.save()
            if name != "parser":
                export(run.model, run.vae, config, log, config.folder / "mini")
    if tuple(phases) == PHASES:
        sheet(config)
    log.say(f"over: {config.folder}")
    return [name for name, succeeded in run.done.items() if not succeeded]


def attempt(run: Run, name: str, seconds: float) -> bool:
    try:
        getattr(run, name)(seconds)
        return True
    except Exception as error:
        traceback.print_exc()
        run.log.say(f"{name} failed ({error!r}); the weights before it stay")
        run.load()
        return False
    finally:
        gc.collect()  # what a phase held is free before the next one begins, a replayed step's memory too
        torch.cuda.empty_cache()


def quietly() -> None:
    """Exports are many, and their libraries tell of each."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def fast_attention(device: str):
    """On a CPU plain attention is faster to train than the fused one, whose backward is slow."""
    return attention_backend("_native_math") if device == "cpu" else nullcontext()


def sheet(config: MiniConfig) -> None:
    """`sheet.jpg`: 32 unseen label maps, true portraits, what the model makes of map and words, and of words alone."""
    portraits = load(config, "test", limit=32)
    pipeline = load_pipeline(config.folder / "mini", device=config.device)
    pipeline.set_progress_bar_config(disable=True)
    prompts = [captions[0] for captions in portraits.captions]
    kinds = [to_colours(portraits.label_maps), portraits.images]
    for label_maps in (list(portraits.label_maps), None):
        generator = torch.Generator().manual_seed(0)
        kinds.append(np.stack(pipeline(prompts, label_map=label_maps, generator=generator).images))
    columns = len(prompts) // 2
    rows = [kind[start : start + columns] for start in (0, columns) for kind in kinds]
    in_rows(list(np.concatenate(rows)), columns=columns).save(config.folder / "sheet.jpg", quality=90)


def all_rendered(pool: Pool) -> int:
    """How many portraits there have been, with those that waited to be taken."""
    while pool.refill(pool.chunk):
        pass
    return pool.total


def smoke(config: MiniConfig) -> None:
    """Some seconds of every phase; says how fast each is, and what it comes to in a whole run."""
    with TemporaryDirectory() as folder:
        short = replace(config, folder=Path(folder), first_portraits=64, redrawn_portraits=64)
        log = Log(short.folder / "log.jsonl")
        run = Run(short, log)
        with run.portraits, fast_attention(config.device):
            workers, before, start = len(run.portraits.workers), all_rendered(run.pool), log.seconds()
            for name in PHASES:
                if name == "decoder":  # the first that leaves them waiting
                    rendered = (all_rendered(run.pool) - before) / (log.seconds() - start)
                getattr(run, name)(SMOKE_SECONDS)
                run.checkpoint.unlink(missing_ok=True)
    seconds = 60 * config.minutes - config.reserve_seconds - start
    shares = sum(config.phase(name).share for name in PHASES)
    rates = {line["phase"]: line["per_second"] for line in log.lines}
    rows = []
    for name, rate in rates.items():
        own = seconds * config.phase(name).share / shares
        rows.append((name, config.phase(name).batch, f"{rate:.1f}", f"{own / 60:.1f}", f"{own * rate:,.0f}"))
    head = ("phase", "batch", "samples a second", f"minutes of {config.minutes:g}", "samples then")
    memory = f"At most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB here"
    if config.device != "cpu":
        memory += f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of the device's"
    print(f"\n{table(head, rows)}\n")
    print(f"{rendered:.1f} portraits a second by {workers} workers. {start:.0f} s to begin. {memory}.")
