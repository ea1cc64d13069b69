"""What training made, as others load it: the adapter in diffusers' format, the MoGLE, a model card; and to the Hub.

`python -m train.publish RUN` writes them anew from a run's newest checkpoint, or its best; it may still be running.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import HfApi
from torch import Tensor

from facemogle.checkpoints import ADAPTER_FILE, CHECKPOINTS, CheckpointError
from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.whole_files import system_error
from train.building import Trained, add_trained, load_base, put
from train.config import TrainingConfig, read_config
from train.saving import BEST, load, newest

CONFIG_FILE, CHECKPOINTS_FOLDER, WEIGHTS_FOLDER = "config.yaml", "checkpoints", "weights"


def publish(pipeline: FaceMoGLEPipeline, config: TrainingConfig, folder: Path, results: dict[str, Any]) -> None:
    """Write the pipeline's adapter and MoGLE, as they are now, and a model card with `results`; whole or not at all.

    With train_base, the transformer too.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        write_parts(pipeline, config, part, model_card(config, results, folder.name, pipeline.mogle))
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if (cause := system_error(error)) is None:
            raise
        raise OSError(f"The weights could not be written to {folder}: {cause.strerror or cause}. Make room.") from error
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def write_parts(pipeline: FaceMoGLEPipeline, config: TrainingConfig, folder: Path, card: str) -> None:
    """Into a folder that is there, and all the way to the disk."""
    pipeline.save_condition_adapter(folder / ADAPTER_FILE)
    pipeline.mogle.save_pretrained(folder / "mogle")
    if has_published_layout(pipeline.mogle):
        with open(folder / "mogle.pt", "wb") as file:  # which tells what the system says
            torch.save(pipeline.mogle.state_dict(), file)
    if config.train_base:
        pipeline.transformer.save_pretrained(folder / "transformer")
    (folder / "README.md").write_text(card)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def has_published_layout(mogle: MoGLE) -> bool:
    """Whether a bare file of weights says all: such files are taken for a MoGLE with its defaults."""
    own, published = dict(mogle.config), MoGLE().config
    return all(own[name] == published[name] for name in published if not name.startswith("_"))


def model_card(config: TrainingConfig, results: dict[str, Any], name: str, mogle: MoGLE) -> str:
    """Of a base on this disk and the data it says nothing: their paths mean nothing elsewhere."""
    base = CHECKPOINTS[config.checkpoint].base if config.checkpoint in CHECKPOINTS else config.checkpoint
    on_hub = not Path(base).exists()
    front = {"library_name": "diffusers", "pipeline_tag": "text-to-image", "tags": ["face-mogle", "flux", "lora"]}
    front |= {"base_model": base} if on_hub else {}
    checkpoint = config.checkpoint if on_hub or config.checkpoint in CHECKPOINTS else "path/to/the/base"
    files = [f"- `{ADAPTER_FILE}`: the LoRA, alpha in its metadata", "- `mogle/`: the MoGLE with its config"]
    files += ["- `mogle.pt`: the same in the layout of the published weights"] if has_published_layout(mogle) else []
    files += ["- `transformer/`: the base, which was trained too"] if config.train_base else []
    paths = ("checkpoint", "cache", "data", "output")
    settings = yaml.safe_dump({key: value for key, value in vars(config).items() if key not in paths}, sort_keys=False)
    return f"""---
{yaml.safe_dump(front, sort_keys=False)}---

# Face-MoGLE weights

A LoRA on the condition tokens and a MoGLE (arXiv 2509.00428): a label map of 19 face classes, a prompt, or both, steer
the base. The licence of the base holds for these weights as well.

```python
from facemogle import load_pipeline

pipeline = load_pipeline("{checkpoint}", adapter="{name}/{ADAPTER_FILE}", mogle="{name}/mogle")
pipeline("a smiling woman with red hair", label_map=label_map).images[0]
```

{chr(10).join(files)}

{chr(10).join(f"{key}: {value}  " for key, value in results.items())}

## Settings

```yaml
{settings}```
"""


def push(folder: Path, repository: str) -> str:
    """Upload a folder of weights; the repository is made where there is none. -> its address.

    Raises ConnectionError, whatever went wrong: the folder is there to be uploaded again.
    """
    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Face-MoGLE weights")
    except Exception as error:  # its HTTP library, and so what it raises, differs from version to version
        raise ConnectionError(f"{folder} was not uploaded to {repository}. Is HF_TOKEN set? {error}") from error
    return f"https://huggingface.co/{repository}"


def export(run: Path, which: str) -> Path:
    """The averaged weights of a run's "last" or "best" checkpoint -> its folder of weights."""
    config = replace(read_config(run / CONFIG_FILE), quantise="none")
    folder = run / CHECKPOINTS_FOLDER
    state = load(folder / BEST) if which == "best" else newest(folder)
    if state is None:
        raise ValueError(f"{folder} holds no checkpoint. Train first: python -m train.train.")
    pipeline = load_base(config, "cpu")
    add_trained(pipeline, config)
    put(dict(Trained(pipeline, config).named_parameters()), averaged(state))
    weights = run / (WEIGHTS_FOLDER if which == "last" else f"{WEIGHTS_FOLDER}-best")
    publish(pipeline, config, weights, results_of(state))
    return weights


def averaged(state: dict[str, Any]) -> dict[str, Tensor]:
    """A checkpoint's averaged weights by name."""
    return dict(zip(state["weights"], state["average"]["shadow_params"], strict=True))


def results_of(state: dict[str, Any]) -> dict[str, Any]:
    """What a model card says of a checkpoint."""
    results = {"steps": state["step"], "samples": state["samples"], "hours": round(state["seconds"] / 3600, 2)}
    if state["validation_loss"] is not None:
        results["validation loss"] = round(state["validation_loss"], 5)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """-> the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.publish", description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=Path, help="a run's output folder")
    parser.add_argument("--which", choices=("last", "best"), default="last", help="the checkpoint (default: last)")
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload it; HF_TOKEN must be set")
    arguments = parser.parse_args(argv)
    try:
        folder = export(arguments.run, arguments.which)
        print(folder)
        if arguments.push_to_hub:
            print(push(folder, arguments.push_to_hub))
    except (CheckpointError, ValueError, OSError) as error:
        print(f"train.publish: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
