"""Photos of every kind that people have, and what is no photo."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from facemogle.parsing.photos import MAX_SIDE, PhotoError, read_photo

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


def stored(picture: Image.Image, format: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, format, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_turned_as_the_camera_says(orientation, format, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if format == "WEBP" else {}
    file = stored(Image.fromarray(pixels), format, exif=exif, **lossless)
    # https://www.cipa.jp, Exif 2.32, tag Orientation: where the stored first row and first column belong.
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels),
    }
    assert np.array_equal(read_photo(file), upright[orientation])


def test_from_a_path_a_file_and_a_picture(tmp_path, pixels):
    path = tmp_path / "photo.png"
    picture = Image.fromarray(pixels)
    picture.save(path)
    with path.open("rb") as file, Image.open(path) as opened:
        for source in (path, str(path), file, picture, opened):
            assert np.array_equal(read_photo(source), pixels)
        assert opened.getpixel((0, 0)) == tuple(pixels[0, 0])  # still open


def test_transparency_lies_over_white():
    rgba = Image.new("RGBA", (3, 1), (*RED, 255))
    rgba.putpixel((1, 0), (0, 0, 0, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 51))
    assert read_photo(stored(rgba)).tolist() == [[list(RED), list(WHITE), [204] * 3]]
    assert read_photo(stored(rgba.convert("LA"))).tolist() == [[[76] * 3, list(WHITE), [204] * 3]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    assert read_photo(stored(palette)).tolist() == [[list(RED), list(BLUE)]]
    assert read_photo(stored(palette, transparency=0)).tolist() == [[list(WHITE), list(BLUE)]]
    assert read_photo(stored(palette.convert("RGB"), transparency=BLUE)).tolist() == [[list(RED), list(WHITE)]]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_has_three_equal_channels(mode, pixels):
    grey = Image.fromarray(pixels).convert(mode)
    photo = read_photo(stored(grey))
    assert photo.shape == pixels.shape
    assert np.array_equal(photo, np.asarray(grey.convert("L"))[..., None].repeat(3, 2))


@pytest.mark.parametrize(
    ("format", "type", "white"),
    [("PNG", "<u2", 65535), ("TIFF", "<u2", 65535), ("TIFF", ">u2", 65535), ("TIFF", "<i4", 2**31 - 1)],
)
def test_sixteen_bits_are_scaled_not_cut(format, type, white):
    values = np.linspace(0, white, 1000).round().astype(type).reshape(20, 50)
    file = stored(Image.fromarray(values), format)
    assert np.abs(read_photo(file)[..., 0] - values * (255 / white)).max() <= 0.5 + 1e-3


def test_thirty_two_bits_may_hold_less():
    for white in (255, 65535):
        values = np.array([[0, white // 2 + 1, white]], np.int32)
        assert read_photo(stored(Image.fromarray(values), "TIFF"))[0, :, 1].tolist() == [0, 128, 255]
    assert not read_photo(stored(Image.new("I", (2, 2)), "TIFF")).any()


def test_colours_for_print():
    photo = read_photo(stored(Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK"), "JPEG", quality=95))
    assert photo.shape == (16, 16, 3)
    assert np.abs(photo.astype(int) - (200, 40, 90)).max() <= 4


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_several_pictures_the_first(format):
    first, *others = (Image.new("RGB", (9, 7), colour) for colour in (RED, GREEN, BLUE))
    photo = read_photo(stored(first, format, save_all=True, append_images=others))
    assert photo.shape == (7, 9, 3)
    assert np.abs(photo.astype(int) - RED).max() <= 2  # two of these formats are lossy


def icc_profile(space: bytes, *, primaries: tuple = (), gamma: float = 2.2) -> bytes:
    """A display's, of `primaries` in XYZ under D50; or of grey."""

    def numbers(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    white = numbers(0.9642, 1, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test" + bytes(80), b"wtpt": b"XYZ \0\0\0\0" + white}
    tags |= {b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    for letter, primary in zip((b"r", b"g", b"b") if primaries else (b"k",), primaries or (None,), strict=True):
        tags |= {letter + b"TRC": curve} | ({letter + b"XYZ": b"XYZ \0\0\0\0" + numbers(*primary)} if primary else {})
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s12x4s28x", size, b"test", 0x02100000, b"mntr", space, b"XYZ ", b"acsp") + white
    return head.ljust(128, b"\0") + table + body


# Their primaries' XYZ under D50, as their published profiles state them.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
WIDE = {
    "Display P3": ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)),
    "Adobe RGB": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
}


@pytest.mark.parametrize("primaries", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_of_another_space_are_converted(primaries, mode):
    colour = (120, 160, 90)
    picture = Image.new("RGB", (9, 7), colour)
    picture = picture.quantize(2) if mode == "P" else picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = read_photo(stored(picture, icc_profile=icc_profile(b"RGB ", primaries=primaries), exif=exif))
    light = (np.array(colour) / 255) ** 2.2 @ np.array(primaries) @ np.linalg.inv(SRGB)
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert photo.shape == (9, 7, 3) and np.abs(photo - expected).max() <= 1.5
    assert np.abs(expected - colour).max() > 8  # so that reading it as it is would show


def test_linear_grey_is_converted():
    profile = icc_profile(b"GRAY", gamma=1)
    for values in (np.full((4, 4), 55, np.uint8), np.full((4, 4), 55 * 257, np.uint16)):
        photo = read_photo(stored(Image.fromarray(values), icc_profile=profile))
        assert np.abs(photo.astype(int) - 128).max() <= 1  # 0.216 of the light


def test_a_profile_that_is_damaged_or_of_another_kind_is_passed_over(pixels):
    whole = icc_profile(b"RGB ", primaries=WIDE["Adobe RGB"])
    for profile in (b"?", bytes(500), whole[:100], whole[:300], icc_profile(b"GRAY")):
        assert np.array_equal(read_photo(stored(Image.fromarray(pixels), icc_profile=profile)), pixels)
    printed = stored(Image.fromarray(pixels).convert("CMYK"), "TIFF", icc_profile=whole)
    assert np.array_equal(read_photo(printed), pixels)


def test_a_single_pixel():
    assert read_photo(stored(Image.new("RGB", (1, 1), GREEN))).tolist() == [[list(GREEN)]]


def a_jpeg() -> bytes:
    return stored(Image.effect_noise((200, 200), 90), "JPEG").getvalue()


def a_png() -> bytes:
    return stored(Image.effect_noise((200, 200), 90)).getvalue()


def of(format: str, picture: Image.Image) -> bytes:
    return stored(picture, format).getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jpg", b"", ["empty file of 0 bytes", "Choose a picture"]),
        ("IMG_1.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), ["HEIC", "JPEG first", "Most Compatible"]),
        ("letter.jpg", b"Dear Sir or Madam,", ["no picture", "saved as JPEG or PNG"]),
        ("half.jpg", a_jpeg()[:-2000], ["truncated", "fetch it again"]),
        ("half.png", a_png()[:-2000], ["cannot be read", "fetch it again"]),
        ("head.png", a_png()[:40], ["", "PNG"]),
        ("broken.png", a_png()[:300] + bytes(300) + a_png()[600:], ["cannot be read", "fetch it again"]),
        ("depth.tif", of("TIFF", Image.new("F", (4, 4), 0.5)), ["fractions", "8 or 16 bits"]),
        ("heights.tif", of("TIFF", Image.new("I", (4, 4), -5)), ["below 0", "8 or 16 bits"]),
        ("drawing.eps", of("EPS", Image.new("RGB", (4, 4))), ["no picture that can be read", "JPEG or PNG"]),
        ("long.png", of("PNG", Image.new("1", (MAX_SIDE + 1, 1))), [f"{MAX_SIDE + 1}x1 pixels", "Scale it down"]),
        ("huge.png", of("PNG", Image.new("1", (8000, 8000))), ["8000x8000", "50 million", "Scale it down"]),
        ("bomb.png", of("PNG", Image.new("1", (14000, 14000))), ["50 million", "Scale it down"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_photo_is_explained(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as from_path:
        read_photo(tmp_path / name)
    with pytest.raises(ValueError) as from_file:
        read_photo(io.BytesIO(content))
    for message, called in ((str(from_path.value), name), (str(from_file.value), "The photo")):
        assert message.startswith(f"{called} ")
        assert all(word in message for word in words), message
        assert str(tmp_path) not in message


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        read_photo(tmp_path / "none.jpg")


def test_a_picture_that_is_too_large_is_not_decoded_for_its_size(tmp_path):
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")
    with Image.open(tmp_path / "huge.png") as picture:
        with pytest.raises(PhotoError, match=r"huge\.png has 8000x8000"):
            read_photo(picture)
        assert picture.fp is not None  # which decoding closes


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_damage_anywhere_is_an_error_or_nothing():
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    picture = ImageOps.pad(Image.effect_noise((40, 30), 90).convert("RGB"), (40, 30))
    for format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        content = stored(picture, format, **({"exif": exif} if format in ("JPEG", "PNG", "WEBP") else {})).getvalue()
        for _ in range(40):
            damaged = np.frombuffer(content, np.uint8)[: rng.integers(1, len(content) + 1)].copy()
            damaged[rng.integers(0, len(damaged), 5)] = rng.integers(0, 256, 5)
            try:
                assert read_photo(io.BytesIO(damaged.tobytes())).ndim == 3
            except PhotoError as error:
                assert str(error).startswith("The photo ")


def test_what_is_refused_takes_no_memory(tmp_path):
    if not Path("/proc/self/status").exists():
        pytest.skip("needs a Linux system to ask for the memory used")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    (tmp_path / "half.jpg").write_bytes(a_jpeg()[:-2000])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "letter.jpg").write_text("Dear Sir or Madam,")
    program = """
import sys, warnings
from pathlib import Path
from PIL import Image
from facemogle.parsing.photos import PhotoError, read_photo
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
def read_all():
    for path in sorted(Path(sys.argv[1]).iterdir()):
        try:
            read_photo(path)
        except PhotoError:
            continue
        raise SystemExit(f"{path} was read")
read_all()
before = peak()
for _ in range(20):
    read_all()
print(before, peak() - before)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    peak, growth = map(int, done.stdout.split())
    assert peak < 100_000, "kB; 100 million pixels alone would take as much"
    assert growth < 4_000, "kB"
