import io

import numpy as np
import pytest
from PIL import Image

from alexnet_impl.data import decoding
from alexnet_impl.data.decoding import decode_image, fit_to_square, image_dimensions
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast

JPEG_ROUNDING = 3  # levels that a JPEG of one colour may be off by


def one_colour(mode, colour) -> Image.Image:
    return Image.new(mode, (6, 4), colour)


def assert_is(image, colour, tolerance=0):
    assert image.shape == (4, 6, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image.astype(int), np.broadcast_to(colour, (4, 6, 3)), 0, tolerance)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_decoding_reads_every_kind_of_file(encode, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(one_colour("RGB", (200, 100, 50)), kind, **options)
    assert_is(decode_image(data, where="a"), (200, 100, 50))


def test_decoding_reads_from_a_path(encode, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(one_colour("RGB", (1, 2, 3))))
    assert_is(decode_image(path, where="a.png"), (1, 2, 3))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 51), (255, 204, 204)),
        ("LA", (0, 0), (255, 255, 255)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 240 * 257, (240, 240, 240)),
    ],
)
def test_decoding_gives_rgb_over_white_for_every_mode(encode, mode, colour, expected):
    assert_is(decode_image(encode(one_colour(mode, colour)), where="a"), expected)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_decoding_scales_sixteen_bits_instead_of_clipping(encode, mode):
    data = encode(Image.new(mode, (6, 4), 12850), "TIFF")
    assert_is(decode_image(data, where="a"), (50, 50, 50))


def test_decoding_uses_the_palette(encode):
    image = one_colour("RGB", (10, 200, 30)).quantize(4)
    assert image.mode == "P"
    assert_is(decode_image(encode(image), where="a"), (10, 200, 30))


def test_decoding_shows_a_transparent_palette_entry_as_white(encode):
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    assert_is(decode_image(encode(image, transparency=1), where="a"), (255, 255, 255))


def test_decoding_converts_cmyk(encode):
    data = encode(one_colour("CMYK", (0, 255, 255, 0)), "JPEG", quality=100)
    assert_is(decode_image(data, where="a"), (255, 0, 0), JPEG_ROUNDING)


def test_decoding_turns_an_image_as_its_exif_says(encode):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, :3] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    data = encode(pixels, "PNG", exif=exif)
    np.testing.assert_array_equal(decode_image(data, where="a"), np.rot90(pixels, -1))


def test_decoding_takes_the_first_frame_of_an_animation(encode):
    frames = [one_colour("RGB", colour) for colour in ((255, 0, 0), (0, 0, 255))]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert_is(decode_image(data, where="a"), (255, 0, 0))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_decoding_refuses_a_truncated_file(encode, kind, share):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encode(pixels, kind)
    with pytest.raises(DataError, match=r"train/cat/7\.jpg: .* replace or remove it"):
        decode_image(data[: int(len(data) * share)], where="train/cat/7.jpg")


@pytest.mark.parametrize("data", [b"", b"just text", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_decoding_refuses_what_is_no_image(data):
    with pytest.raises(DataError, match=r"notes\.png: (not an image|does not decode)"):
        decode_image(data, where="notes.png")


def test_decoding_refuses_more_pixels_than_an_image_has(encode, monkeypatch):
    monkeypatch.setattr(decoding, "MOST_PIXELS", 100)
    with pytest.raises(DataError, match=r"does not decode \(20x10 pixels, more than 100\)"):
        decode_image(encode(np.zeros((10, 20, 3), np.uint8)), where="a")


def test_decoding_runs_no_program():
    """Pillow would give PostScript to Ghostscript."""
    with pytest.raises(DataError, match="not an image of a known format"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", where="a.png")


def test_decoding_names_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"^x\.png: there is no such file\.$"):
        decode_image(tmp_path / "x.png", where="x.png")


def test_decoding_refuses_floating_point_pixels(encode):
    with pytest.raises(DataError, match="floating-point"):
        decode_image(encode(one_colour("F", 0.5), "TIFF"), where="a")


def test_dimensions_are_read_from_the_head_alone(encode):
    data = encode(np.zeros((40, 60, 3), np.uint8), "JPEG")
    assert image_dimensions(data[: len(data) - 50], where="a") == (60, 40)


def test_fit_to_square_leaves_a_fitting_image_alone():
    image = np.zeros((5, 5, 3), np.uint8)
    assert fit_to_square(image, 5) is image


@pytest.mark.parametrize(("height", "width"), [(8, 20), (20, 8)])
def test_fit_to_square_keeps_the_middle(height, width):
    image = np.full((height, width, 3), 255, np.uint8)
    image[(height - 8) // 2 :, (width - 8) // 2 :][:8, :8] = 7
    for size in (4, 8, 16):
        np.testing.assert_array_equal(fit_to_square(image, size), np.full((size, size, 3), 7))


def test_fit_to_square_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = fit_to_square(stripes, 8)[:, 1:-1]
    np.testing.assert_allclose(small.astype(int), 128, atol=4)
