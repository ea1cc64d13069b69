"""The app as `python app.py` serves it with mini, but for ages of seconds: what takes two hours takes one minute."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import app
from facemogle.ui import layout
from facemogle.ui.temp_folder import own_folder

AGE = 40.0  # seconds, of files and of visits


def main() -> None:
    layout.HOUR = round(AGE)
    folder = own_folder()
    folder.age, keep_swept = AGE, folder.keep_swept
    folder.keep_swept = lambda: keep_swept(every=5)  # type: ignore[method-assign]
    app.main(["--checkpoint", "mini", "--port", sys.argv[1]])


if __name__ == "__main__":
    main()
    os._exit(0)
