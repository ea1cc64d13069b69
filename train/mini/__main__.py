"""Make the bundled checkpoint `mini` and its parser: from nothing or from a checkpoint, in one go, on one GPU or a CPU.

Worker processes render portraits without end while four phases learn from them, each for its share of --minutes:
  flow      text encoders, transformer, adapter and MoGLE together, on flow matching
  guidance  the average's guidance in several passes becomes a number that one pass takes
  decoder   the VAE's, on what the model draws
  parser    the network that reads label maps from portraits
The weights are in OUT/mini and OUT/mini-parser, a sheet of unseen cases in OUT/sheet.jpg. The same command goes on
where a killed run stopped; a phase that fails leaves the weights of the one before it. All other numbers are in
train/mini/config.py.
"""

import argparse
from pathlib import Path

# The workers import this module too: nothing slow up here.

COMMANDS = {
    "make": "all of the above (the default)",
    "parser": "the parser alone",
    "pictures": "4,000 portraits as files, for train.cache and train.train",
    "examples": "the page's example label maps",
    "report": "measure assets/mini, and write its REPORT.md",
}


def arguments() -> argparse.Namespace:
    commands = "\n".join(f"  {name:9} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m train.mini",
        description=__doc__,
        epilog=f"commands:\n{commands}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="make", metavar="COMMAND", help="see below")
    parser.add_argument("--minutes", type=float, default=15.0, help="of the whole run (default: 15, a GPU's)")
    parser.add_argument("--start-from", type=Path, metavar="DIR", help="a checkpoint to go on from, as assets/mini")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/mini)")
    parser.add_argument("--device", help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that render (default: by the cores)")
    parser.add_argument("--eager", action="store_true", help="compile no blocks, and on CUDA replay no steps")
    parser.add_argument("--smoke", action="store_true", help="a minute: how fast each phase is, and the whole run then")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    from train.mini.config import MiniConfig

    named = {"start_from": given.start_from, "folder": given.out, "device": given.device, "workers": given.workers}
    config = MiniConfig(
        minutes=given.minutes, compile=not given.eager, **{name: value for name, value in named.items() if value}
    )
    if config.minutes <= 0 or (config.workers or 1) < 1:
        raise SystemExit("--minutes must be above 0 and --workers at least 1.")
    if config.start_from and not config.start_from.is_dir():
        raise SystemExit(f"--start-from must be a folder, got {config.start_from}.")
    if config.device == "cpu":
        config = config.smaller()
    if given.command in ("make", "parser"):
        from facemogle.folders import own_folder
        from train.mini import program

        if given.smoke:
            program.smoke(config)
            return 0
        try:
            with own_folder(config.folder, "mini", "mini-parser"):
                failed = program.make(config, program.PHASES if given.command == "make" else ("parser",))
        except (ValueError, OSError) as error:
            raise SystemExit(str(error)) from error
        if failed:
            print(f"Failed: {', '.join(failed)}. The reasons stand above.")
        return len(failed) > 0
    if given.command == "pictures":
        from train.mini.samples import load, write_pictures

        write_pictures(load(config, "train", limit=4_000), config.folder / "pictures")
    elif given.command == "examples":
        from train.mini.examples import write_examples

        write_examples()
    else:
        from train.mini.report import report

        report(config)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
