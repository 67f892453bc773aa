"""Integer, grey and noise images: the published example (part A §4.9), stored images, and the edges of their ranges."""

from pathlib import Path

import numpy as np
import pytest

from nanobrag_torch.errors import InputError
from nanobrag_torch.noise import grey_scale, integer_image, integer_scale, noise_image, pgm_image

GOLDEN = Path(__file__).parent / "golden_data"

EXAMPLE = np.array(
    [
        [0.249966413, 0.606461763, 5.10772562, 5.10772562],
        [0.606461763, 1.47129631, 12.3914661, 12.3914661],
        [5.10772562, 12.3914661, 104.3638, 104.3638],
        [5.10772562, 12.3914661, 104.3638, 104.3638],
    ],
    dtype=np.float32,
)
RMSD = 44.1655
EVERYWHERE = np.ones((4, 4), dtype=bool)


def region(shape, xmin, xmax, ymin, ymax):
    roi = np.zeros(shape, dtype=bool)
    roi[ymin : ymax + 1, xmin : xmax + 1] = True
    return roi


def one_row(*values):
    return np.array([values], dtype=np.float32), np.ones((1, len(values)), dtype=bool)


def test_integer_image_of_the_published_example():
    scale = integer_scale(float(EXAMPLE.max()))
    assert f"{scale:g}" == "527.003"
    assert integer_image(EXAMPLE, EVERYWHERE, scale, 40.0).tolist() == [
        [172, 360, 2732, 2732],
        [360, 815, 6570, 6570],
        [2732, 6570, 55040, 55040],
        [2732, 6570, 55040, 55040],
    ]


def test_grey_map_of_the_published_example():
    scale = grey_scale(RMSD, 527.003)
    assert f"{scale:g}" == "1.13211"
    assert pgm_image(EXAMPLE, EVERYWHERE, scale).tolist() == [
        [0, 0, 5, 5],
        [0, 1, 14, 14],
        [5, 14, 118, 118],
        [5, 14, 118, 118],
    ]


def test_noise_image_of_the_published_example():
    noise = noise_image(EXAMPLE, EVERYWHERE, 42, 40.0, clip_negative=False)
    assert noise.counts.tolist() == [
        [40, 40, 44, 42],
        [40, 41, 54, 57],
        [43, 54, 134, 153],
        [42, 52, 131, 149],
    ]
    assert (noise.photons, noise.overloads) == (476.0, 0)


@pytest.mark.parametrize(
    ("case", "seed", "adc", "roi", "photons"),
    [
        ("p-noise-low", 321, 5.0, (0, 79, 0, 79), 1526.0),
        ("p-noise-medium", 1357, 21.4, (0, 71, 0, 71), 1850715.0),
        ("p-noise-mixed", 99, 40.0, (4, 75, 6, 70), 1745914.0),
        ("p-noise-gaussian", 77, 40.0, (0, 63, 0, 63), 1149005155.0),
    ],
)
def test_noise_image_is_the_canonical_one_draw_for_draw(case, seed, adc, roi, photons):
    with np.load(GOLDEN / f"{case}.npz") as stored:
        image, expected = stored["image"], stored["noise_image"]
    noise = noise_image(image, region(image.shape, *roi), seed, adc, clip_negative=False)
    np.testing.assert_array_equal(noise.counts, expected)
    assert f"{noise.photons:.0f}" == f"{photons:.0f}"


def test_automatic_scales_of_a_dark_image():
    assert integer_scale(0.0) == 1.0
    assert grey_scale(0.0, 3.5) == 3.5


def test_integer_image_is_clipped_and_zero_outside_the_region():
    image, roi = one_row(-5.0, 0.0, 1.0, 1e9, np.inf, np.nan, 7.0)
    roi[0, 6] = False
    assert integer_image(image, roi, 2.0, 3.0).tolist() == [[0, 3, 5, 65535, 65535, 0, 0]]


def test_integer_image_rounds_through_binary32():
    image, roi = one_row(49999.0, 50000.0)
    counts = integer_image(image, roi, 1.0, 0.499)  # + 0.5 is 49999.999, which binary32 holds as 50000
    assert counts.tolist() == [[50000, 50001]]
    assert integer_image(image, roi, 1.0, 0.49).tolist() == [[49999, 50000]]


def test_grey_map_is_cut_at_255_and_zero_outside_the_region():
    image, roi = one_row(0.99, 1.0, 200.0, np.nan, np.inf, 9.0)
    roi[0, 5] = False
    assert pgm_image(image, roi, 2.0).tolist() == [[1, 2, 255, 0, 255, 0]]


def test_negative_counts_wrap_or_are_clipped():
    image, roi = one_row(0.0, 0.0)
    assert noise_image(image, roi, 1, -1.0, clip_negative=False).counts.tolist() == [[65535, 65535]]
    assert noise_image(image, roi, 1, -1.0, clip_negative=True).counts.tolist() == [[0, 0]]


def test_fractional_offset_is_truncated_after_adding():
    image, roi = one_row(0.0)
    assert noise_image(image, roi, 1, 2.9, clip_negative=False).counts.tolist() == [[2]]


def test_overloads_are_counted_and_cut():
    image, roi = one_row(0.0, 65400.0, 2e6)
    noise = noise_image(image, roi, 3, 1000.0, clip_negative=False)
    assert noise.counts.tolist() == [[1000, 65535, 65535]]
    assert noise.overloads == 2


def test_pixel_nan_becomes_zero_counts_and_spoils_the_total():
    image, roi = one_row(np.nan, 0.0)
    noise = noise_image(image, roi, 3, 7.0, clip_negative=False)
    assert noise.counts.tolist() == [[0, 7]]
    assert np.isnan(noise.photons)


def test_region_without_pixels_gives_an_empty_image():
    noise = noise_image(EXAMPLE, ~EVERYWHERE, 3, 7.0, clip_negative=False)
    assert (noise.counts.any(), noise.photons, noise.overloads) == (False, 0.0, 0)


def test_bad_seed_is_refused():
    with pytest.raises(InputError, match="seed"):
        noise_image(EXAMPLE, EVERYWHERE, 0, 40.0, clip_negative=False)
