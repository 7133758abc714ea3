"""Image files against the arrays that they were made from."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.data.image_decoding import OtherSizeError, UnfitImageError, decode_image, image_size

RGB = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
GREY = RGB[..., 0]


def decoded(path: Path, channels: int = 3, height: int = 6, width: int = 4) -> np.ndarray:
    return decode_image(str(path), height, width, channels, resize=True).pixels


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm", "webp"])
def test_pixels_are_those_that_were_saved(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(RGB).save(path, lossless=True)
    np.testing.assert_array_equal(decoded(path), RGB)
    image = decode_image(str(path), 6, 4, 3, resize=False)
    assert (image.mode, image.is_grey, image.resized) == ("RGB", False, False)


def test_palettes_transparency_and_frames_become_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    opaque = np.full((6, 4, 1), 7, np.uint8)
    Image.fromarray(np.concatenate([RGB, opaque], axis=-1)).save(path)
    np.testing.assert_array_equal(decoded(path), RGB)
    few = (RGB // 128) * 255  # 8 colours at most, which a palette holds exactly
    frames = [Image.fromarray(few).quantize(8), Image.fromarray(few[::-1]).quantize(8)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decoded(tmp_path / "a.gif"), few)
    Image.fromarray(few).quantize(8).save(path)
    np.testing.assert_array_equal(decoded(path), few)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(255 - np.dstack([RGB, np.full_like(GREY, 255)]), "CMYK").save(path)
    np.testing.assert_array_equal(decoded(path), RGB)


def test_of_16_bits_the_upper_8_are_taken(tmp_path: Path) -> None:
    deep = np.random.default_rng(1).integers(0, 2**16, (6, 4), np.uint16)
    for name in ("a.png", "a.tif", "a.pgm"):
        Image.fromarray(deep).save(tmp_path / name)
        np.testing.assert_array_equal(decoded(tmp_path / name, 1)[..., 0], deep // 256)
    np.testing.assert_array_equal(decoded(tmp_path / "a.png", 3)[..., 2], deep // 256)


def test_grey_images_have_equal_channels_and_coloured_ones_their_luma(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    pixels = decoded(tmp_path / "grey.png")
    np.testing.assert_array_equal(pixels, np.repeat(GREY[..., np.newaxis], 3, axis=-1))
    Image.fromarray(RGB).save(tmp_path / "rgb.png")
    luma = RGB @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(decoded(tmp_path / "rgb.png", 1)[..., 0] - luma).max() <= 1


# Of EXIF: how the pixels of the file become the picture.
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_images_are_turned_as_people_see_them(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.png", "a.tif", "a.webp"):
        Image.fromarray(RGB).save(tmp_path / name, exif=exif, lossless=True)
        picture = TURNS[orientation](RGB)
        assert image_size(str(tmp_path / name)) == picture.shape[:2]
        np.testing.assert_array_equal(decoded(tmp_path / name, 3, *picture.shape[:2]), picture)


def test_a_turned_photo_is_made_smaller(tmp_path: Path) -> None:
    """JPEG files that are much larger are decoded at a part of their size, before they turn."""
    photo = np.zeros((400, 800, 3), np.uint8)
    photo[:, 400:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right: the left half comes to the top
    Image.fromarray(photo).save(tmp_path / "a.jpg", exif=exif)
    small = decoded(tmp_path / "a.jpg", 1, 20, 10)[..., 0]
    assert small[:9].max() < 8
    assert small[11:].min() > 247


def test_smaller_images_are_means(tmp_path: Path) -> None:
    """Of lines that are black and white by turns no pixel stays black or white."""
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[::2] = 255
    Image.fromarray(lines).save(tmp_path / "a.png")
    small = decoded(tmp_path / "a.png", 3, 8, 8)
    assert np.abs(small.astype(int) - 127).max() <= 9


def test_other_sizes_are_refused_or_stretched(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((6, 4, 3), 77, np.uint8)).save(path)
    with pytest.raises(OtherSizeError) as error:
        decode_image(str(path), 5, 4, 3, resize=False)
    assert error.value.size == (6, 4)
    image = decode_image(str(path), 9, 2, 3, resize=True)
    assert image.resized
    np.testing.assert_array_equal(image.pixels, np.full((9, 2, 3), 77))


def test_broken_files_say_why_without_their_name(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "whole.png")
    files = {
        "text.png": (b"no image", "is no image that can be read"),
        "empty.png": (b"", "is no image that can be read"),
        "cut.png": ((tmp_path / "whole.png").read_bytes()[:60], "truncated"),
    }
    for name, (content, reason) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnfitImageError, match=reason) as error:
            decoded(tmp_path / name)
        assert str(tmp_path) not in str(error.value)
    with pytest.raises(UnfitImageError, match="No such file"):
        decoded(tmp_path / "none.png")
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UnfitImageError, match="floating-point"):
        decoded(tmp_path / "float.tif")
