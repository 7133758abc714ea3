"""`tuner activations`."""

import json
import math

import pytest

pytestmark = pytest.mark.tensorflow


def test_functions_and_derivatives(tuner):
    (told,) = json.loads(tuner("activations", "tanh", "--json").out)
    assert told["name"] == "tanh"
    assert (told["x"][0], told["x"][-1]) == (-4, 4)
    for x, y, slope in zip(told["x"], told["y"], told["derivative"], strict=True):
        assert y == pytest.approx(math.tanh(x), abs=1e-6)
        assert slope == pytest.approx(1 - math.tanh(x) ** 2, abs=1e-6)


def test_all_are_drawn_in_the_terminal_and_into_a_file(tuner, tmp_path):
    done = tuner("activations", "--save", "pictures/all.png")
    assert done.code == 0
    assert all(name in done.out for name in ("relu", "leaky_relu", "arctan", "softplus", "linear"))
    assert "⡇" in done.out  # an axis
    assert (tmp_path / "pictures" / "all.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tan"], "unknown activation 'tan'; there are: tanh, "),
        (["relu", "--save", "all.txt"], "all.txt: must end in .png, .svg, .pdf"),
        (["--leaky-slope", "1"], "the leaky slope must be >= 0 and < 1, got 1"),
    ],
)
def test_mistakes(words, message, tuner):
    done = tuner("activations", *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
