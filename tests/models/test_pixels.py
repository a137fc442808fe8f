import contextlib
import io
import struct
import tarfile
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.card import Preprocessing
from models.pixels import PixelError, open_image, to_pixels, to_rgb

SQUARE = Preprocessing(size=32)


def photograph(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth colour image without any symmetry."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    channels = (x, y**2, 0.5 + 0.5 * np.sin(7 * x + 3 * y))
    return Image.fromarray((np.stack(channels, 2) * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reopened(image: Image.Image, kind: str, **options: object) -> Image.Image:
    return open_image(encoded(image, kind, **options))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float).ravel(), b.astype(float).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def grey_ramp(dtype: type, scale: float) -> np.ndarray:
    return (np.arange(256).reshape(16, 16) * scale).astype(dtype)


# The EXIF orientation that undoes each turn of a stored image.
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def stored_turned(image: Image.Image, orientation: int, kind: str) -> bytes:
    turn = TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    turned = image if turn is None else image.transpose(turn)
    return encoded(turned, kind, exif=exif, **options)


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_every_exif_orientation_gives_the_upright_image(orientation: int, kind: str, resize: str):
    upright = photograph()
    rule = Preprocessing(size=32, resize=resize)
    expected = to_pixels(upright, rule)
    pixels = to_pixels(open_image(stored_turned(upright, orientation, kind)), rule)
    assert cosine(pixels, expected) >= 0.999
    full = to_rgb(open_image(stored_turned(upright, orientation, kind)))
    assert full.size == upright.size
    assert cosine(array(full), array(upright)) >= 0.999


def test_orientation_is_applied_once_even_to_a_result():
    once = to_rgb(open_image(stored_turned(photograph(), 6, "JPEG")))
    assert np.array_equal(array(to_rgb(once)), array(once))
    assert not once.getexif()


def test_eight_real_photographs_agree_whatever_their_orientation(shared_data: Path):
    for shape in ("Landscape", "Portrait"):
        seen = []
        for orientation in range(9):
            path = shared_data / "exif-orientation" / f"{shape}_{orientation}.jpg"
            with open_image(path) as image:
                seen.append(to_pixels(image, Preprocessing(size=64)))
        assert min(cosine(seen[1], other) for other in seen) >= 0.999


def test_broken_metadata_does_not_spoil_whole_pixels():
    plain = photograph()
    image = reopened(plain, "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    assert np.array_equal(array(to_rgb(image)), array(plain))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_samples_are_scaled_not_clipped(kind: str):
    samples = grey_ramp(np.uint16, 257)
    image = reopened(Image.fromarray(samples), kind)
    assert np.array_equal(array(to_rgb(image))[..., 0], grey_ramp(int, 1))
    eight_bit = to_pixels(Image.fromarray(grey_ramp(np.uint8, 1)), SQUARE)
    assert cosine(to_pixels(reopened(Image.fromarray(samples), kind), SQUARE), eight_bit) >= 0.99


def test_a_dark_sixteen_bit_file_stays_dark():
    image = reopened(Image.fromarray(grey_ramp(np.uint16, 1)), "PNG")
    assert image.mode == "I;16"
    assert array(to_rgb(image)).max() == 1


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (grey_ramp(np.int32, 1), grey_ramp(int, 1)),
        (grey_ramp(np.int32, 257), grey_ramp(int, 1)),
        (grey_ramp(np.int32, 2**23) - 2**30, grey_ramp(int, 1)),
        (grey_ramp(np.float32, 1 / 255), grey_ramp(int, 1)),
        (grey_ramp(np.float32, 1), grey_ramp(int, 1)),
        (grey_ramp(np.float32, 257), grey_ramp(int, 1)),
        (grey_ramp(np.float32, 1e36) - 1.2e38, grey_ramp(int, 1)),
        (np.zeros((4, 4), np.int32), np.zeros((4, 4))),
        (np.full((4, 4), -7.0, np.float32), np.zeros((4, 4))),
        (np.full((4, 4), np.nan, np.float32), np.zeros((4, 4))),
        (
            np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32),
            np.array([[0, 255], [0, 128]]),
        ),
    ],
    ids=[
        "int 0..255",
        "int 0..65535",
        "int of any range",
        "float 0..1",
        "float 0..255",
        "float 0..65535",
        "float of any range",
        "int zero",
        "float constant",
        "float nan",
        "float infinite",
    ],
)
def test_integer_and_float_samples_fill_the_range_they_conventionally_have(samples, expected):
    image = reopened(Image.fromarray(samples), "TIFF")
    assert image.mode in ("I", "F")
    pixels = array(to_rgb(image))
    assert abs(pixels - expected[..., None]).max() <= 1


def test_large_float_images_are_scaled_alike_in_every_part():
    samples = np.linspace(-3, 9, 1_500 * 1_500, dtype=np.float32).reshape(1_500, 1_500)
    pixels = array(to_rgb(Image.fromarray(samples)))[..., 0]
    assert abs(pixels - (samples + 3) / 12 * 255).max() <= 0.51


def test_transparency_lies_on_white():
    colour = np.zeros((8, 8, 4), np.uint8)
    colour[..., 0] = 200
    colour[:4, :, 3] = 255
    pixels = array(to_rgb(reopened(Image.fromarray(colour), "PNG")))
    assert (pixels[:4] == (200, 0, 0)).all()
    assert (pixels[4:] == 255).all()


def test_half_transparency_mixes_with_white():
    colour = np.full((4, 4, 4), (100, 0, 50, 128), np.uint8)
    pixels = array(to_rgb(Image.fromarray(colour)))
    expected = np.array([100, 0, 50]) * 128 / 255 + 255 * 127 / 255
    assert abs(pixels - expected).max() <= 1


def test_grey_with_alpha_lies_on_white():
    image = Image.merge(
        "LA", (Image.new("L", (4, 4), 30), Image.linear_gradient("L").resize((4, 4)))
    )
    alpha = array(image.getchannel("A"))
    pixels = array(to_rgb(reopened(image, "PNG")))
    assert abs(pixels[..., 0] - (30 * alpha + 255 * (255 - alpha)) / 255).max() <= 1


@pytest.mark.parametrize(
    ("image", "transparency"),
    [
        (Image.new("RGB", (4, 4), (1, 2, 3)), (1, 2, 3)),
        (Image.new("L", (4, 4), 7), 7),
        (Image.new("1", (4, 4), 0), 0),
        (Image.fromarray(np.full((4, 4), 900, np.uint16)), 900),
        (Image.new("RGB", (4, 4), (9, 9, 9)).quantize(4), 0),
        (Image.new("RGB", (4, 4), (9, 9, 9)).quantize(4), b"\x00\x10\x20\x30"),
    ],
    ids=["rgb", "grey", "one-bit", "sixteen-bit", "palette index", "palette alphas"],
)
def test_a_transparent_colour_is_white_in_every_mode(image: Image.Image, transparency: object):
    pixels = array(to_rgb(reopened(image, "PNG", transparency=transparency)))
    assert (pixels == 255).all()


def test_a_palette_shows_its_colours():
    image = photograph().quantize(256)
    shown = to_rgb(reopened(image, "PNG"))
    assert np.array_equal(array(shown), array(image.convert("RGB")))


def test_one_bit_images_are_black_and_white():
    checks = np.indices((8, 8)).sum(0) % 2 == 0
    pixels = array(to_rgb(reopened(Image.fromarray(checks), "PNG")))
    assert np.array_equal(pixels[..., 1], checks * 255)


def test_cmyk_shows_the_colours_it_was_made_of():
    plain = photograph()
    pixels = to_pixels(reopened(plain.convert("CMYK"), "TIFF"), SQUARE)
    assert cosine(pixels, to_pixels(plain, SQUARE)) >= 0.999
    jpeg = to_pixels(reopened(plain.convert("CMYK"), "JPEG", quality=95), SQUARE)
    assert cosine(jpeg, to_pixels(plain, SQUARE)) >= 0.99


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_of_pillow_becomes_rgb(mode: str):
    plain = Image.new("RGB", (6, 5), "white")
    via = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(mode)
    image = (plain.convert(via) if via else plain).convert(mode)
    shown = to_rgb(image)
    assert (shown.mode, shown.size) == ("RGB", (6, 5))
    assert array(shown).min() >= 250


def test_lab_becomes_rgb():
    lab = Image.merge("LAB", [Image.new("L", (4, 4), level) for level in (255, 128, 128)])
    assert array(to_rgb(lab)).min() >= 250


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("TIFF", {}), ("PNG", {}), ("WEBP", {"lossless": True})]
)
def test_only_the_first_frame_counts(kind: str, options: dict[str, object]):
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encoded(red, kind, save_all=True, append_images=[blue, blue], **options)
    with open_image(data) as image:
        assert (array(to_rgb(image)) == (255, 0, 0)).all()
    with open_image(data) as image:
        image.seek(1)
        assert (array(to_rgb(image)) == (255, 0, 0)).all()


def test_an_image_of_the_right_size_is_copied_unchanged():
    samples = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for interpolation in ("bilinear", "bicubic", "lanczos"):
        for resize in ("crop", "squash"):
            rule = Preprocessing(size=32, resize=resize, interpolation=interpolation)
            pixels = to_pixels(reopened(Image.fromarray(samples), "PNG"), rule)
            assert np.array_equal(pixels, samples)
            assert pixels.flags.writeable
            assert pixels.flags.c_contiguous


def test_crop_takes_the_centred_square_and_squash_the_whole():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    image = Image.fromarray(wide)
    assert (to_pixels(image, Preprocessing(size=10)) == 255).all()
    squashed = to_pixels(image, Preprocessing(size=30, resize="squash"))
    assert (squashed[:, 14:16] == 255).all()
    assert (squashed[:, :5] == 0).all()


def test_grey_pixels_have_one_channel():
    pixels = to_pixels(photograph(), Preprocessing(size=28, colour="grey"))
    assert pixels.shape == (28, 28, 1)
    digit = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    same = to_pixels(Image.fromarray(digit), Preprocessing(size=28, colour="grey"))
    assert np.array_equal(same[..., 0], digit)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (31, 33), (7, 5)])
def test_any_shape_of_image_gives_the_size_asked_for(size: tuple[int, int]):
    for resize in ("crop", "squash"):
        pixels = to_pixels(Image.new("RGB", size, "teal"), Preprocessing(size=32, resize=resize))
        assert pixels.shape == (32, 32, 3)
        assert (pixels == (0, 128, 128)).all()


def test_a_large_jpeg_decoded_at_a_fraction_gives_the_same_pixels_within_a_level():
    large = photograph(1100, 900)
    data = encoded(large, "JPEG", quality=90)
    with open_image(data) as image:
        quick = to_pixels(image, SQUARE).astype(int)
        assert image.size != large.size
    with open_image(data) as image:
        image.load()
        assert abs(quick - to_pixels(image, SQUARE)).max() <= 1


def test_the_caller_keeps_an_unchanged_image():
    image = photograph()
    before = array(image).copy()
    to_rgb(image).paste("black", (0, 0, 96, 64))
    to_pixels(image, SQUARE)[:] = 0
    assert np.array_equal(array(image), before)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_file_is_a_pixel_error(kind: str):
    data = encoded(photograph(), kind)
    for length in (0, 1, 10, 40, len(data) // 2):
        with pytest.raises(PixelError), open_image(data[:length]) as image:
            to_pixels(image, SQUARE)


def png_with_size(width: int, height: int) -> bytes:
    """A PNG that declares any size and holds no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not an image"),
        (b"hello, this is text", "not an image"),
        (png_with_size(100_000, 100_000), "more pixels than may be decoded"),
        (encoded(photograph(), "JPEG")[:400], "not an image|truncated|damaged"),
        (encoded(photograph(), "BMP")[:400], "truncated"),
    ],
)
def test_the_error_is_a_sentence_without_exception_text(data: bytes, sentence: str):
    with pytest.raises(PixelError, match=sentence) as caught, open_image(data) as image:
        to_pixels(image, SQUARE)
    assert str(caught.value)[0].isupper()
    assert str(caught.value).endswith(".")
    assert "0x" not in str(caught.value)


def test_a_file_that_cannot_be_read_says_why_without_its_path(tmp_path: Path):
    with pytest.raises(PixelError, match=r"^The file cannot be read: No such file or directory\.$"):
        open_image(tmp_path / "nothing.png")
    with pytest.raises(PixelError, match=r"^The file cannot be read: Is a directory\.$"):
        open_image(tmp_path)


def test_formats_that_were_not_asked_for_are_not_tried():
    data = encoded(photograph(), "BMP")
    assert open_image(data, formats=("BMP",)).format == "BMP"
    with pytest.raises(PixelError, match="not an image"):
        open_image(data, formats=("JPEG", "PNG"))


def test_an_image_without_pixels_is_a_pixel_error():
    with pytest.raises(PixelError, match="no pixels"):
        to_pixels(Image.new("RGB", (0, 5)), SQUARE)


def test_warnings_of_pillow_stay_inside_and_ours_come_out():
    bomb = png_with_size(10_000, 9_500)  # a DecompressionBombWarning, not yet an error
    assert open_image(bomb).size == (10_000, 9_500)
    before = list(warnings.filters)
    with pytest.raises(PixelError):
        to_pixels(open_image(bomb), SQUARE)
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)


def test_warnings_stay_inside_in_every_thread():
    bomb = png_with_size(10_000, 9_500)
    before = list(warnings.filters)
    failures: list[Exception] = []

    def decode() -> None:
        for _ in range(50):
            try:
                open_image(bomb)
            except Exception as error:  # noqa: BLE001 - whatever comes out fails the test
                failures.append(error)

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert list(warnings.filters) == before


def test_no_hostile_file_gets_past_as_anything_but_pixels_or_a_pixel_error(
    shared_data: Path, tmp_path: Path
):
    with tarfile.open(shared_data / "hostile" / "hostile.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    good = 0
    for path in files:
        with contextlib.suppress(PixelError), open_image(path) as image:
            pixels = to_pixels(image, SQUARE)
            assert pixels.shape == (32, 32, 3), path
            assert pixels.dtype == np.uint8, path
            good += 1
    assert len(files) >= 2_900
    assert good >= 1_050
