"""`python -m facemogle generate`, `parse`, `gating`, `inspect`, `benchmark` and `evaluate`."""

import argparse
import sys
import warnings
from collections.abc import Sequence

from PIL import Image

from facemogle.checkpoints import CheckpointError
from facemogle.cli.arguments import in_words, report_failure
from facemogle.cli.batch import add_batch
from facemogle.cli.benchmark import add_benchmark
from facemogle.cli.change import add_change
from facemogle.cli.compile import add_compile
from facemogle.cli.evaluate import add_evaluate
from facemogle.cli.experts import add_experts
from facemogle.cli.gating import add_gating
from facemogle.cli.generate import add_generate
from facemogle.cli.inspect import add_inspect
from facemogle.cli.morph import add_morph
from facemogle.cli.parse import add_parse
from facemogle.cli.reproduce import add_reproduce
from facemogle.cli.sketch import add_sketch
from facemogle.threads import spin_shortly


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command -> the exit code: 0, 1 of a check that failed, 2 after an error of the user's (one line on stderr),
    130 after Ctrl+C."""
    spin_shortly()
    arguments = parse_arguments(argv)
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # what is too large is refused in our own words
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except (CheckpointError, ValueError, IndexError, OSError, FloatingPointError) as error:
        return report_failure(in_words(error))
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        return report_failure(f"{error} Make a smaller --size, or run with --device cpu.")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse itself exits with code 2 on what it cannot read."""
    parser = argparse.ArgumentParser(prog="python -m facemogle", description="Face-MoGLE: a face from a label map.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_generate(commands)
    add_batch(commands)
    add_change(commands)
    add_parse(commands)
    add_sketch(commands)
    add_gating(commands)
    add_experts(commands)
    add_morph(commands)
    add_inspect(commands)
    add_benchmark(commands)
    add_evaluate(commands)
    add_reproduce(commands)
    add_compile(commands)
    return parser.parse_args(argv)
