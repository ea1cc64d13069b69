"""Who may import whom: the direction of the arrows between the modules, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "facemogle").rglob("*.py"))
TRAIN = sorted((ROOT / "train").rglob("*.py"))

# A module of the package (a folder counts as one) -> the modules of the package that it may import.
ARROWS = {
    "labels": set(),
    "synonyms": set(),
    "words": {"synonyms"},
    "threads": set(),
    "masks": {"labels", "pipeline"},
    "text_files": set(),
    "class_orders": {"labels", "text_files"},
    "plausibility": {"class_orders", "labels"},
    "label_values": {"class_orders", "labels", "plausibility"},
    "whole_files": set(),
    "picture_formats": {"whole_files"},
    "label_files": {
        "class_orders", "label_values", "labels", "picture_formats", "plausibility", "sketch", "whole_files",
    },
    "picture_files": {"labels", "picture_formats", "whole_files"},
    "region_files": {"picture_formats"},
    "templates": {"labels"},
    "sketch": {"labels", "picture_formats", "templates"},
    "overlap": {"labels"},
    "gating": {"labels", "masks", "whole_files"},
    "figures": {"expert_effects", "gating", "labels", "whole_files"},
    "expert_effects": {"gating", "masks"},
    "morph": {"labels", "masks", "picture_files", "pipeline"},
    "mogle": {"labels"},
    "condition_memory": set(),
    "transformer": {"condition_memory"},
    "step_graph": {"transformer"},
    "step_caches": {"transformer"},
    "scheduler": set(),
    "compiled_blocks": {"pipeline", "transformer", "weight_files", "whole_files"},
    "quantisation": {"transformer", "weight_files"},
    "presets": {"pipeline", "quantisation", "weight_files"},
    "vae": set(),
    "editing": {"masks"},
    "lora_files": set(),
    "style_loras": {"lora_files"},
    "parts": {"editing", "labels", "templates"},
    "photo_changes": {"editing", "labels", "masks", "parsing"},
    "change": {
        "checkpoints", "editing", "faces", "masks", "parsing", "parts", "photo_changes", "pipeline",
    },
    "mask_encoding": {"labels"},
    "latent_colours": set(),
    "pipeline": {
        "condition_memory", "editing", "expert_effects", "gating", "labels", "latent_colours", "lora_files",
        "mask_encoding", "masks", "mogle", "scheduler", "step_caches", "step_graph", "style_loras",
        "transformer", "whole_files", "words",
    },
    "setting_ranges": set(),
    "weight_files": {"setting_ranges"},
    "random_flux": {"mogle", "pipeline", "transformer"},
    "benchmark": {"pipeline", "presets", "random_flux", "transformer"},
    "parser_checkpoints": {"weight_files", "whole_files", "parsing"},
    "checkpoints": {"mogle", "parser_checkpoints", "pipeline", "presets", "transformer", "vae", "weight_files"},
    "parsing": {"labels", "picture_formats", "plausibility"},
    "data": {
        "class_orders", "label_files", "masks", "parsing", "picture_formats", "plausibility", "text_files",
        "whole_files",
    },
    "folders": set(),
    "evaluation": {
        "checkpoints", "class_orders", "data", "labels", "masks", "overlap", "parser_checkpoints", "picture_files",
        "picture_formats", "text_files", "weight_files", "whole_files", "words",
    },
    "batch": {
        "checkpoints", "class_orders", "data", "folders", "gating", "label_files", "masks", "picture_files",
        "presets", "setting_ranges", "text_files", "threads", "weight_files",
    },
    "faces": {"checkpoints", "parsing", "picture_files", "labels"},
    "ui": {
        "class_orders", "data", "editing", "expert_effects", "pipeline", "parsing", "gating", "figures", "label_files",
        "labels", "masks", "morph", "overlap", "parts", "photo_changes", "picture_files", "picture_formats", "presets",
        "region_files", "sketch", "templates",
    },
    "cli": {
        "batch", "benchmark", "change", "checkpoints", "class_orders", "compiled_blocks", "data", "evaluation",
        "expert_effects", "faces", "figures", "folders", "gating", "label_files", "labels", "morph", "parsing", "parts",
        "picture_files", "picture_formats", "pipeline", "presets", "random_flux", "region_files", "sketch", "threads",
        "weight_files", "whole_files",
    },
    "__main__": {"cli"},
    "__init__": {"checkpoints", "faces", "pipeline"},
}  # fmt: skip

# networks: the evaluation's, each in its publisher's own form, which no checkpoint of ours has.
WEIGHTS_AND_HUB = {"checkpoints", "networks", "parser_checkpoints", "weight_files"}


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, anywhere in it; `from a import b` gives both a and a.b."""
    package = list(path.relative_to(ROOT).parts[:-1])
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return names


def imports_any(path: Path, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for name in imports(path) for module in modules)


def module_of(path: Path) -> str:
    return path.relative_to(ROOT / "facemogle").with_suffix("").parts[0]


def title(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PACKAGE, ids=title)
def test_package_obeys_the_arrows(path):
    modules = {name.split(".")[1] for name in imports(path) if name.startswith("facemogle.")}
    ours = modules & {module_of(other) for other in PACKAGE}
    assert ours <= ARROWS[module_of(path)] | {module_of(path)}


@pytest.mark.parametrize("path", PACKAGE + TRAIN, ids=title)
def test_nothing_imports_the_app(path):
    assert not imports_any(path, "app")


@pytest.mark.parametrize("path", [path for path in PACKAGE if module_of(path) != "ui"] + TRAIN, ids=title)
def test_gradio_only_in_the_ui(path):
    assert not imports_any(path, "gradio")
    assert path.name == "compiled_blocks.py" or not imports_any(path, "spaces")


@pytest.mark.parametrize("path", TRAIN, ids=title)
def test_training_never_imports_the_ui(path):
    assert not imports_any(path, "facemogle.ui")


@pytest.mark.parametrize("path", PACKAGE, ids=title)
def test_package_never_imports_training(path):
    assert not imports_any(path, "train")


# save_pretrained and from_pretrained are whole only with the adapter's file, so that the pipeline reads and writes it.
@pytest.mark.parametrize("path", [path for path in PACKAGE if path.stem not in WEIGHTS_AND_HUB], ids=title)
def test_weights_and_the_hub_only_in_checkpoints(path):
    assert not imports_any(path, "huggingface_hub")
    assert path.name == "pipeline.py" or not imports_any(path, "safetensors")
    nodes = ast.walk(ast.parse(path.read_text()))
    assert not {"torch.load", "torch.save"} & {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
