"""Image metrics: each against a plain reckoning, and the rule for peaks that are equal by symmetry."""

from __future__ import annotations

import numpy as np
import pytest

from nanobrag_torch.compare import bit_equal, compare_images, correlation, find_peaks, match_peaks


def spots(centres, heights, shape=(64, 64), width=1.3, floor=1.0):
    """Gaussian spots on a flat floor: the true centres are known."""
    slow, fast = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, floor)
    for (s, f), height in zip(centres, heights, strict=True):
        image += height * np.exp(-((slow - s) ** 2 + (fast - f) ** 2) / (2 * width**2))
    return image


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    reference = rng.exponential(size=(12, 17)) ** 3
    return reference, reference * (1 + 1e-3 * rng.standard_normal((12, 17)))


class TestPixelMetrics:
    def test_against_plain_loops(self, pair):
        reference, test = pair
        result = compare_images(reference, test, bright=0.1)
        differences = [abs(b - a) for a, b in zip(reference.flat, test.flat, strict=True)]
        bright = 0.1 * max(reference.flat)
        relative = [d / a for d, a in zip(differences, reference.flat, strict=True) if a > bright]
        assert result.sum_ratio == pytest.approx(sum(test.flat) / sum(reference.flat), rel=1e-14)
        assert result.rmse == pytest.approx((sum(d * d for d in differences) / len(differences)) ** 0.5, rel=1e-14)
        assert result.max_abs == max(differences)
        assert result.max_rel == max(relative)
        assert result.bright_pixels == len(relative)
        assert result.correlation == pytest.approx(np.corrcoef(reference.ravel(), test.ravel())[0, 1], rel=1e-14)

    def test_an_image_agrees_with_itself(self, pair):
        result = compare_images(pair[0], pair[0])
        assert result.correlation == pytest.approx(1.0, abs=1e-15)
        assert (result.rmse, result.max_abs, result.max_rel) == (0, 0, 0)
        assert (result.sum_ratio, result.bit_equal_share) == (1, 1)

    def test_one_float32_ulp_is_not_bit_equal_and_less_is(self):
        reference = np.full((4, 5), 3.0)
        test = reference.copy()
        test[1, 2] = np.nextafter(np.float32(3), np.float32(4))
        test[2, 2] = 3.0 + 1e-12
        assert compare_images(reference, test).bit_equal_share == 19 / 20
        assert not bit_equal(reference, test)[1, 2]

    def test_unsigned_counts_are_subtracted_without_wrapping(self):
        result = compare_images(np.full((3, 3), 5, np.uint16), np.full((3, 3), 3, np.uint16))
        assert result.max_abs == 2.0

    @pytest.mark.parametrize(("a", "b", "expected"), [(0.0, 0.0, 1.0), (2.0, 2.0, 1.0), (2.0, 3.0, 0.0)])
    def test_correlation_of_constant_images(self, a, b, expected):
        assert correlation(np.full((3, 4), a), np.full((3, 4), b)) == expected

    def test_sum_ratio_of_dark_images(self):
        dark = np.zeros((3, 3))
        assert compare_images(dark, dark).sum_ratio == 1.0
        assert np.isnan(compare_images(dark, dark + 1).sum_ratio)

    @pytest.mark.parametrize("metric", [compare_images, bit_equal, match_peaks])
    def test_shapes_must_agree(self, metric):
        with pytest.raises(ValueError, match=r"\(8, 9\) and \(9, 8\)"):
            metric(np.ones((8, 9)), np.ones((9, 8)))


class TestPeaks:
    CENTRES = [(10.0, 12.0), (30.25, 40.5), (50.0, 20.75)]

    def test_found_where_they_are_strongest_first(self):
        peaks = find_peaks(spots(self.CENTRES, [50, 200, 100]))
        assert len(peaks) == 3
        assert np.all(np.diff(peaks.heights) < 0)
        expected = np.array([self.CENTRES[1], self.CENTRES[2], self.CENTRES[0]])
        assert np.abs(peaks.positions - expected).max() < 0.25

    def test_count_keeps_the_strongest(self):
        image = spots(self.CENTRES, [50, 200, 100])
        assert find_peaks(image, 1).heights == [image.max()]

    def test_ripple_and_edges_are_no_peaks(self):
        rng = np.random.default_rng(1)
        assert len(find_peaks(100 + 0.5 * rng.random((40, 40)))) == 0
        assert len(find_peaks(spots([(0, 20), (62.9, 30)], [50, 50]))) == 0
        assert len(find_peaks(np.eye(6))) == 0

    @pytest.mark.parametrize("favoured", [20, 21])
    def test_a_plateau_is_one_peak_whichever_pixel_rounding_favours(self, favoured):
        image = spots([(30.0, 20.5)], [100])
        image[30, favoured] *= 1 + 1e-13
        peaks = find_peaks(image)
        assert len(peaks) == 1
        assert peaks.positions[0] == pytest.approx([30.0, 20.5], abs=1e-10)


class TestPeakMatching:
    def test_equal_heights_match_in_any_order(self):
        """More equal maxima than are asked for: each image lists others, all must be found."""
        centres = [(s, f) for s in range(8, 60, 8) for f in range(8, 60, 8)]
        image = spots(centres, [100] * len(centres), width=0.8)
        rng = np.random.default_rng(5)
        noisy = [image * (1 + 1e-13 * rng.standard_normal(image.shape)) for _ in range(2)]
        listed = [find_peaks(image, 10).positions.round() for image in noisy]
        assert not np.array_equal(*listed)
        match = match_peaks(*noisy, count=10)
        assert (match.found, match.wanted) == (10, 10)
        assert match.distances_px.max() < 1e-9

    def test_a_peak_is_used_once(self):
        reference, test = spots([(20, 20), (20, 25)], [100, 100]), spots([(20, 22)], [100])
        assert match_peaks(reference, test, radius_px=4, height_tolerance=0.1).found == 1

    def test_pairs_are_maximal_even_where_the_nearest_would_block(self):
        reference = spots([(20, 20), (20, 26)], [100, 100], width=0.8)
        test = spots([(20, 24), (20, 30)], [100, 100], width=0.8)
        match = match_peaks(reference, test, radius_px=5)
        assert match.found == 2
        assert match.distances_px == pytest.approx([4, 4], abs=0.01)

    def test_shifted_or_changed_peaks_do_not_match(self):
        image = spots([(20, 20), (40, 40)], [100, 80])
        assert match_peaks(image, spots([(20, 21), (40, 40)], [100, 80])).found == 1
        assert match_peaks(image, spots([(20, 20), (40, 40)], [100, 81])).found == 1
        assert match_peaks(image, np.ones_like(image)).found == 0
