"""Image statistics, as part A §4.7 defines them."""

import math

import numpy as np
import pytest

from nanobrag_torch.statistics import image_statistics

# Float pixels of the 4 x 4 example of part A §4.9.
EXAMPLE = np.array(
    [
        [0.249966413, 0.606461763, 5.10772562, 5.10772562],
        [0.606461763, 1.47129631, 12.3914661, 12.3914661],
        [5.10772562, 12.3914661, 104.3638, 104.3638],
        [5.10772562, 12.3914661, 104.3638, 104.3638],
    ],
    dtype=np.float32,
)
EVERYWHERE = np.ones((4, 4), dtype=bool)


def test_statistics_of_the_published_image():
    s = image_statistics(EXAMPLE, EVERYWHERE, EVERYWHERE, rmsd_includes_masked=True)
    assert [f"{x:g}" for x in (s.max_I, s.mean, s.rms, s.rmsd)] == ["104.364", "30.6491", "54.3377", "44.1655"]
    assert (s.max_slow, s.max_fast, s.rendered) == (2, 2, 16)  # the first of four equal pixels


def test_masked_pixels_count_in_the_rmsd_only_if_asked():
    rng = np.random.default_rng(1)
    image = rng.uniform(1.0, 2.0, (20, 30)).astype(np.float32)
    roi = np.ones(image.shape, dtype=bool)
    roi[:, :5] = False
    rendered = roi.copy()
    rendered[3, 5:15] = False
    image[~rendered] = 0.0
    values = image[rendered].astype(float)
    upstream = image_statistics(image, rendered, roi, rmsd_includes_masked=True)
    clean = image_statistics(image, rendered, roi, rmsd_includes_masked=False)
    with_zeros = np.concatenate([values, np.zeros(10)])
    assert clean.rmsd == pytest.approx(math.sqrt(((values - values.mean()) ** 2).sum() / (values.size - 1)), rel=1e-12)
    assert upstream.rmsd == pytest.approx(
        math.sqrt(((with_zeros - values.mean()) ** 2).sum() / (with_zeros.size - 1)), rel=1e-12
    )
    assert upstream.mean == clean.mean == pytest.approx(values.mean(), rel=1e-14)
    assert upstream.rendered == 490


def test_squares_are_rounded_to_binary32_before_they_are_summed():
    image = np.full((1, 3), 1.1, dtype=np.float32)
    everywhere = np.ones((1, 3), dtype=bool)
    square = float(np.float32(1.1) * np.float32(1.1))
    rms = image_statistics(image, everywhere, everywhere, rmsd_includes_masked=True).rms
    assert rms == math.sqrt((square + square + square) / 2.0)


@pytest.mark.parametrize("rendered", [np.zeros((4, 4), dtype=bool), EVERYWHERE])
def test_dark_image_has_no_maximum(rendered):
    s = image_statistics(np.zeros((4, 4), dtype=np.float32), rendered, EVERYWHERE, rmsd_includes_masked=True)
    assert (s.max_I, s.max_slow, s.max_fast, s.mean, s.rms, s.rmsd) == (0.0, None, None, 0.0, 0.0, 0.0)


def test_single_pixel_divides_by_one():
    one = np.zeros((4, 4), dtype=bool)
    one[3, 1] = True
    s = image_statistics(EXAMPLE, one, one, rmsd_includes_masked=True)
    assert s.mean == s.max_I == float(EXAMPLE[3, 1])
    assert s.rms == pytest.approx(s.max_I, rel=1e-7)
    assert (s.rmsd, s.max_slow, s.max_fast) == (0.0, 3, 1)


def test_maximum_lies_among_rendered_pixels_and_is_not_nan():
    image = EXAMPLE.copy()
    image[0, 0] = np.nan
    rendered = EVERYWHERE.copy()
    rendered[2:, 2:] = False
    s = image_statistics(image, rendered, EVERYWHERE, rmsd_includes_masked=True)
    assert (s.max_I, s.max_slow, s.max_fast) == (float(EXAMPLE[1, 2]), 1, 2)
