"""The random streams against the published values (part A §5) and against a plain, slow reckoning of the same text."""

import math

import numpy as np
import pytest

from nanobrag_torch.deviates import (
    DeviateStream,
    log_gamma,
    mosaic_axes,
    mosaic_rotations,
    poisson_image,
    random_misset,
    umat_to_misset,
)
from nanobrag_torch.errors import InputError


def f32(x):
    return float(np.float32(x))


class PlainStream:
    """Park and Miller's generator, its shuffle and the Poisson deviates, one step at a time."""

    def __init__(self, seed):
        self.x = -seed
        self.y = 0
        self.stored = None

    def step(self):
        k = self.x // 127773
        self.x = 16807 * (self.x - k * 127773) - 2836 * k
        if self.x < 0:
            self.x += 2147483647

    def uniform(self):
        if self.x <= 0 or self.y == 0:
            self.x = max(-self.x, 1)
            self.table = [0] * 32
            for slot in range(39, -1, -1):
                self.step()
                if slot < 32:
                    self.table[slot] = self.x
            self.y = self.table[0]
        self.step()
        slot = self.y // 67108864
        self.y, self.table[slot] = self.table[slot], self.x
        u = f32(self.y * (1.0 / 2147483647))
        return f32(1.0 - 1.2e-7) if u > 1.0 - 1.2e-7 else u

    def gaussian(self):
        if self.stored is not None:
            value, self.stored = self.stored, None
            return value
        q = 0.0
        while not 0.0 < q < 1.0:
            v1, v2 = f32(2.0 * self.uniform() - 1.0), f32(2.0 * self.uniform() - 1.0)
            q = f32(f32(v1 * v1) + f32(v2 * v2))
        f = f32(math.sqrt(-2.0 * math.log(q) / q))
        self.stored = f32(v1 * f)
        return f32(v2 * f)

    def poisson(self, m):
        if m > 1.0e6:
            return f32(m + math.sqrt(m) * self.gaussian())
        if m < 12.0:
            g, n, t = f32(math.exp(-m)), -1, 1.0
            while n < 0 or t > g:
                n, t = n + 1, f32(t * self.uniform())
            return float(n)
        s, log_m = f32(math.sqrt(2.0 * m)), f32(math.log(m))
        g = f32(f32(m * log_m) - log_gamma(f32(m + 1.0)))
        while True:
            e = -1.0
            while e < 0:
                y = f32(math.tan(math.pi * self.uniform()))
                e = f32(f32(s * y) + m)
            e = float(math.floor(e))
            z = f32(f32(f32(e * log_m) - log_gamma(f32(e + 1.0))) - g)
            if not self.uniform() > f32(0.9 * (1.0 + f32(y * y)) * math.exp(z)):
                return e


UNIFORMS = {
    1: "0.415999353 0.091964893 0.75641048 0.52970022 0.930436492 0.383502066 0.653918982 0.0668422356 0.722660422 "
    "0.671149373",
    42: "0.471973002 0.539009392 0.737019002 0.18827413 0.993509591 0.530449033 0.0783327818 0.769240439 0.247408122 "
    "0.0230257344",
    12345678: "0.765989304 0.023453664 0.589726627 0.535101593 0.982231438 0.693016112 0.328146875 0.29564169 "
    "0.849917889 0.592261791",
}
STATE_AFTER_TEN = {1: 937186357, 42: 707121348, 12345678: 1481110328}


@pytest.mark.parametrize("seed", UNIFORMS)
def test_uniform_deviates(seed):
    stream = DeviateStream(seed)
    assert [f"{stream.uniform():.9g}" for _ in range(10)] == UNIFORMS[seed].split()
    assert stream.state == STATE_AFTER_TEN[seed]


@pytest.mark.parametrize(
    ("seed", "patterns"),
    [
        (1, "3ed4fdde 3dbc5817 3f41a41e"),
        (42, "3ef1a672 3f09fc85 3f3cad47"),
        (12345678, "3f4417e0 3cc021e6 3f16f853"),
    ],
)
def test_uniform_bit_patterns(seed, patterns):
    stream = DeviateStream(seed)
    assert [np.float32(stream.uniform()).view(np.uint32) for _ in range(3)] == [int(p, 16) for p in patterns.split()]


def test_state_directly_after_start_up():
    assert DeviateStream(1).state == 1  # nothing drawn: the table is made by the first draw
    stream = DeviateStream(2147483646)
    assert [f"{stream.uniform():.9g}" for _ in range(3)] == ["0.933157742", "0.616497934", "0.582514048"]


def test_largest_seed_gives_zero_and_then_the_stream_of_seed_1():
    stream, first = DeviateStream(2147483647), DeviateStream(1)
    assert stream.uniform() == 0.0
    assert [stream.uniform() for _ in range(100)] == [first.uniform() for _ in range(100)]


@pytest.mark.parametrize("seed", [1, 987654321])
def test_long_stream_is_that_of_the_plain_generator(seed):
    stream, plain = DeviateStream(seed), PlainStream(seed)
    for _ in range(12000):
        assert stream.uniform() == plain.uniform()
    assert stream.state == plain.x


@pytest.mark.parametrize("seed", [0, -1, 2147483648])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(InputError, match=rf"^a seed must be a whole number from 1 to 2147483647, got {seed}$"):
        DeviateStream(seed)


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (
            1,
            "-0.836853981 -0.172279969 0.187117606 1.61543977 -0.17677407 0.653144717 -0.546363592 0.194145709 "
            "0.92570889 1.20432079",
        ),
        (
            42,
            "2.48605609 -1.78615165 -0.787008882 0.598397791 0.0130146388 0.210937709 -1.19664633 -1.49886119 "
            "-1.08907914 -0.104493782",
        ),
    ],
)
def test_gaussian_deviates(seed, expected):
    stream = DeviateStream(seed)
    assert [f"{stream.gaussian():.9g}" for _ in range(10)] == expected.split()


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.5, "0.572364926"),
        (1, "0"),
        (2, "-4.4408921e-16"),
        (5, "3.17805386"),
        (13, "19.987215"),
        (51, "148.477768"),
        (5001, "37591.1445"),
        (1000001, "12815518"),
    ],
)
def test_log_gamma(x, expected):
    assert f"{log_gamma(x):.9g}" == expected


@pytest.mark.parametrize(
    ("mean", "seed", "expected", "state"),
    [
        (0, 1, "0 0 0 0 0 0 0 0 0 0", 937186357),
        (0.5, 1, "0 0 1 1 1 1 0 1 0 1", 357571490),
        (0.5, 42, "0 0 1 1 0 1 0 0 0 0", 2118548913),
        (5, 1, "5 5 8 5 6 6 1 5 5 3", 578354438),
        (5, 42, "6 2 4 5 5 4 5 7 4 6", 737546509),
        (50, 1, "40 47 46 52 46 44 49 40 46 36", 34075629),
        (50, 42, "39 49 52 59 42 69 53 43 56 53", 1368882553),
        (5000, 1, "4903 4977 4809 4962 5023 4966 5098 4947 5019 5002", 1478446501),
        (5000, 42, "4891 4997 5025 5098 4920 5020 4972 4967 4846 4997", 222323218),
        (65000, 1, "64653 64919 64313 64863 65083 64879 65353 64810 65069 64924", 1654001669),
        (999999, 1, "998640 999684 997305 998318 999463 1000327 999527 1001387 999256 1000153", 824938981),
        (
            2e6,
            1,
            "1998816.5 1999756.38 2000264.62 2002284.62 1999750 2000923.62 1999227.38 2000274.62 2001309.12 2001703.12",
            937186357,
        ),
        (
            2e6,
            42,
            "2003515.88 1997474 1998887 2000846.25 2000018.38 2000298.25 1998307.62 1997880.25 1998459.75 1999852.25",
            1172713531,
        ),
    ],
)
def test_poisson_deviates(mean, seed, expected, state):
    stream = DeviateStream(seed)
    assert [f"{stream.poisson(mean):.9g}" for _ in range(10)] == expected.split()
    assert stream.state == state


MIXED = [
    (0, "0", 47232166),
    (0.3, "0", 1409548219),
    (7.9, "8", 43159904),
    (11.999, "8", 1424754943),
    (12, "14", 1620236040),
    (30, "30", 1058982289),
    (1000.5, "929", 2099910972),
    (3e6, "3001077.5", 1190664360),
    (2e6, "1997448", 1190664360),  # the stored Gaussian: nothing is drawn
    (0.3, "0", 1243275774),
    (65000, "64982", 1402594415),
    (999999, "999871", 23747286),
    (1e6, "999872", 1121147681),
    (1.5e6, "1502556.38", 1710082541),
]


def test_poisson_deviates_of_mixed_means():
    stream = DeviateStream(77)
    assert [(mean, f"{stream.poisson(mean):.9g}", stream.state) for mean, _, _ in MIXED] == MIXED


def test_poisson_deviates_of_mixed_means_at_once():
    drawn = DeviateStream(77).poisson_many(np.array([mean for mean, _, _ in MIXED], dtype=np.float32))
    assert [f"{n:.9g}" for n in drawn] == [expected for _, expected, _ in MIXED]


def test_poisson_deviates_of_many_means_are_those_of_the_plain_generator():
    rng = np.random.default_rng(3)
    means = (10.0 ** rng.uniform(-3.0, 6.5, 6000)).astype(np.float32)
    stream, plain = DeviateStream(2024), PlainStream(2024)
    assert stream.poisson_many(means).tolist() == [plain.poisson(float(m)) for m in means]
    assert stream.state == plain.x


def test_mean_nan_draws_twice_and_gives_nan():
    stream, other = DeviateStream(9), DeviateStream(9)
    assert math.isnan(stream.poisson(math.nan))
    other.uniform()
    other.uniform()
    assert stream.state == other.state


def test_negative_mean_draws_once_and_gives_zero():
    stream, other = DeviateStream(9), DeviateStream(9)
    assert stream.poisson(-1.0e5) == 0.0
    other.uniform()
    assert stream.state == other.state


def test_poisson_image_draws_in_scan_order_inside_the_region_only():
    means = np.arange(12, dtype=np.float32).reshape(3, 4)
    roi = np.zeros((3, 4), dtype=bool)
    roi[1:, 1:3] = True
    photons = poisson_image(means, 5, roi)
    stream = DeviateStream(5)
    assert photons[roi].tolist() == [stream.poisson(m) for m in (5, 6, 9, 10)]
    assert not photons[~roi].any()


# Rows of the first five domains, seed 12345678, spread 1 degree.
ROTATIONS = """
0.99986449752590911 0.016451908512331283 -0.00056682763088982736
-0.01645463317913215 0.99985112005937082 -0.005194493523134629
0.00048128390941530775 0.0052031165971526822 0.99998634787854723
0.99986368592193575 -0.01594877166007503 0.0042715637810345434
0.015952848100370585 0.99987232016945238 -0.00092195251648568416
-0.0042563143783279477 0.00098997044952826353 0.99999045182762714
0.9999657443853005 0.0056663083387967425 0.0060334903465161967
-0.0057336742754520043 0.99992075868632402 0.011207199804992794
-0.0059695087951054712 -0.011241409963865434 0.99991899455244349
0.99989312604678959 -0.0019571731726949555 0.014488131610081448
0.0020944346275040093 0.99995301284043658 -0.009464959319766755
-0.014468926289468415 0.0094942922066792636 0.99985024308019455
0.99986036738540607 -0.0032385880448038504 0.0163938183287754
0.0033095557277708874 0.99998526260148068 -0.004303652022692811
-0.016379638970551752 0.0043573073478586043 0.9998563503323219
"""


def published_rotations():
    return np.array([float(word) for word in ROTATIONS.split()]).reshape(5, 3, 3)


def test_random_rotations():
    stream = DeviateStream(12345678)
    drawn = np.array([stream.rotation(math.radians(1.0)) for _ in range(5)])
    np.testing.assert_allclose(drawn, published_rotations(), rtol=0, atol=4e-17)
    assert stream.state == 1613172161


def test_first_mosaic_domain_is_not_turned_but_draws():
    rotations = mosaic_rotations(math.radians(1.0), 5, 12345678)
    np.testing.assert_array_equal(rotations[0], np.eye(3))
    np.testing.assert_allclose(rotations[1:], published_rotations()[1:], rtol=0, atol=4e-17)


def test_mosaic_axes_are_those_of_the_rotations():
    axes, factor = mosaic_axes(40, 7)
    rotations = mosaic_rotations(0.3, 40, 7)
    angles = np.float32(0.3) * factor
    cosines = (np.trace(rotations, axis1=1, axis2=2) - 1.0) / 2.0
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1.0, rtol=1e-15)
    np.testing.assert_allclose(np.einsum("dij,dj->di", rotations, axes), axes, atol=1e-15)
    np.testing.assert_allclose(cosines, np.cos(angles), atol=1e-8)  # the angles are binary32
    assert factor[0] == 0.0
    assert ((factor[1:] > 0.0) & (factor[1:] <= 1.0)).all()


def test_mosaic_angles_crowd_near_the_spread():
    _, factor = mosaic_axes(20000, 12345678)
    assert np.median(factor) == pytest.approx(0.910, abs=0.003)
    assert factor.mean() == pytest.approx(0.843, abs=0.003)


@pytest.mark.parametrize(
    ("seed", "angles_deg"),
    [
        (1, (4.6629571628284801, -11.844978845829706, 17.6225480239485)),
        (7, (22.076402235380854, 19.70333917507871, 8.2049767221656502)),
        (42, (-11.585886639425025, 56.207688997699549, -1.333374204498232)),
        (12345, (105.72075473063306, -34.951318363186608, -97.823571440655073)),
        (54321, (-27.529714861379333, 53.373759381330366, 91.879164574859843)),
    ],
)
def test_random_misset(seed, angles_deg):
    np.testing.assert_allclose(np.degrees(random_misset(seed)), angles_deg, rtol=1e-15)


def test_matrix_of_the_random_misset():
    expected = [
        [0.55603349278543901, -0.14406636658477168, 0.81857903523110542],
        [-0.012942220052732462, 0.98324336519475386, 0.18183779513787182],
        [-0.83105911573180624, -0.11170213435542839, 0.54485170398881022],
    ]
    np.testing.assert_allclose(DeviateStream(42).rotation(90.0), expected, rtol=1e-15)


def test_misset_angles_rebuild_the_rotation():
    def about(axis, angle):
        c, s = math.cos(angle), math.sin(angle)
        i, j = [k for k in range(3) if k != axis]
        matrix = np.eye(3)
        matrix[i, i] = matrix[j, j] = c
        matrix[j, i], matrix[i, j] = (-s, s) if axis == 1 else (s, -s)
        return matrix

    stream = DeviateStream(11)
    for _ in range(50):
        umat = stream.rotation(2.0)
        x, y, z = umat_to_misset(umat)
        np.testing.assert_allclose(about(2, z) @ about(1, y) @ about(0, x), umat, atol=1e-14)


def test_misset_angles_of_a_quarter_turn_about_y():
    np.testing.assert_array_equal(
        umat_to_misset(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])),
        [math.pi, math.pi / 2.0, math.atan2(0.0, -1.0)],
    )
