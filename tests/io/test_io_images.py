"""Grey maps, previews and float images."""

import numpy as np
import pytest
from PIL import Image

from nanobrag_torch.errors import InputError
from nanobrag_torch.io import preview, read_float_image, write_float_image, write_pgm, write_png


def test_grey_map_file(tmp_path):
    write_pgm(tmp_path / "image.pgm", np.array([[0, 5, 255], [14, 118, 1]], dtype=np.uint8), 1.132112)
    expected = b"P5\n3 2\n# pixels scaled by 1.13211\n255\n" + bytes([0, 5, 255, 14, 118, 1])
    assert (tmp_path / "image.pgm").read_bytes() == expected
    with Image.open(tmp_path / "image.pgm") as read:
        assert np.asarray(read).tolist() == [[0, 5, 255], [14, 118, 1]]


def test_float_image_round_trip(tmp_path):
    image = np.random.default_rng(1).random((3, 5)).astype(np.float32)
    write_float_image(tmp_path / "float.bin", image.T.copy().T)  # a transposed buffer is still written by rows
    assert (tmp_path / "float.bin").read_bytes() == image.tobytes()
    np.testing.assert_array_equal(read_float_image(tmp_path / "float.bin", (3, 5)), image)


def test_float_image_of_another_size_is_refused(tmp_path):
    write_float_image(tmp_path / "float.bin", np.zeros((3, 5)))
    with pytest.raises(InputError, match=r"float\.bin: expected 64 bytes \(4 x 4 binary32 pixels\), got 60$"):
        read_float_image(tmp_path / "float.bin", (4, 4))


def test_preview_is_logarithmic_and_dark_where_bright():
    grey = preview(np.array([[1.0, 1.0, 1.0, 10.0, 100.0]]))
    assert grey.tolist() == [[255, 255, 255, 128, 0]]


def test_preview_spans_at_most_five_decades():
    image = np.full((1, 9), 1e-30)
    image[0, -3:] = [1.0, 10.0**2.5, 1e5]
    assert preview(image).tolist() == [[255] * 7 + [128, 0]]


@pytest.mark.parametrize("image", [np.zeros((2, 3)), np.full((2, 3), np.nan), np.full((2, 3), 7.0)])
def test_preview_of_an_even_image_is_white(image):
    assert preview(image).tolist() == [[255] * 3] * 2


def test_png_is_a_grey_image_with_the_slow_axis_down(tmp_path):
    image = np.ones((2, 3))
    image[1, 2] = 100.0
    write_png(tmp_path / "preview.png", image)
    with Image.open(tmp_path / "preview.png") as png:
        assert (png.mode, png.size) == ("L", (3, 2))
        assert np.asarray(png).tolist() == [[255, 255, 255], [255, 255, 0]]
