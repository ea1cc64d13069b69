"""Every way in reads the same formats, and starts no other program."""

import io
import re
from pathlib import Path

import pytest
from PIL import EpsImagePlugin, Image

from facemogle.label_files import read_label_map
from facemogle.parsing.photos import read_photo
from facemogle.picture_files import read_settings
from facemogle.region_files import read_region

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("read", [read_label_map, read_photo, read_settings, read_region])
def test_a_program_for_a_printer_is_no_picture_whatever_its_name(read, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **_: started.append(arguments))
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "EPS")
    (tmp_path / "map.png").write_bytes(file.getvalue())
    with pytest.raises(ValueError, match=r"map\.png"):
        read(tmp_path / "map.png")
    assert not started


def test_no_picture_is_opened_past_the_list_of_formats():
    files = [*(ROOT / "facemogle").rglob("*.py"), *(ROOT / "train").glob("*.py")]
    opened = [(file.name, line) for file in files for line in file.read_text().splitlines() if "Image.open(" in line]
    own = ("picture_formats.py", "examples.py")  # of which the latter reads what is in this repository
    assert not [(name, line) for name, line in opened if name not in own and not re.search("formats=", line)]
