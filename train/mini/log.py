"""What a run says, on the screen and in `log.jsonl`."""

import json
import time
from pathlib import Path


class Log:
    """`spent`: seconds of the runs before, which this one goes on from."""

    def __init__(self, file: Path):
        self.file, self.started = file, time.monotonic()
        self.lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        self.spent = max((line["at"] for line in self.lines), default=0.0)

    def seconds(self) -> float:
        """Of the run, without the time between a kill and going on."""
        return self.spent + time.monotonic() - self.started

    def say(self, text: str) -> None:
        print(f"[{self.seconds():7.1f}] {text}", flush=True)

    def record(self, **values) -> None:
        values = {"at": self.seconds()} | values
        line = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in values.items()}
        self.lines.append(line)
        with open(self.file, "a") as file:
            file.write(json.dumps(line) + "\n")
        text = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items())
        self.say("  ".join([*text][1:]))

    def points(self, phase: str) -> list[dict]:
        """Steps, losses and seconds of a phase; of steps that a kill made it take twice, those that counted."""
        points: list[dict] = []
        for line in self.lines:
            if line.get("phase") == phase and "loss" in line:
                points = [point for point in points if point["step"] < line["step"]]
                points.append({key: line[key] for key in ("step", "loss", "seconds")})
        return points
