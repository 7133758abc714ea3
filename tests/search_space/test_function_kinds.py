"""What kind a user's function is, from its text."""

import pytest

from tuner.errors import NetworkError
from tuner.search_space.function_kinds import FunctionKind, kind_of_function


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("def f(params, input_shape, outputs): ...", "build"),
        ("def f(params, input_shape, outputs=10): ...", "build"),
        ("def f(*everything): ...", "build"),
        ("from nets import f", "build"),
        ("def f(params, trial): ...", "train"),
        ("def f(trial): ...", "objective"),
        ("def f(trial, x=X, y=Y): ...", "objective"),
        ("def f(t: optuna.Trial): ...", "objective"),
        ("def f(t): return t.suggest_float('x', 0, 1)", "objective"),
        ("def f(hp): ...", "hypermodel"),
        ("def f(h: kt.HyperParameters): ...", "hypermodel"),
        ("def f(h):\n  units = h.Int('units', 8, 64)", "hypermodel"),
        ("class f(kt.HyperModel):\n  def build(self, hp): ...", "hypermodel"),
        ("class A:\n  def build(self, hp): ...\nclass f(A): ...", "hypermodel"),
        ("class A:\n  def build(self, hp): ...\nf = A(classes=3)", "hypermodel"),
        ("f = kt.applications.HyperResNet((32, 32, 3), classes=10)", "hypermodel"),
        ("class f(f): ...\nf = other(3)", "build"),
        ("def f(hp): ...\ndef f(params, trial): ...", "train"),
        ("def f(", "build"),
    ],
)
def test_a_function_is_known_by_its_text(text: str, kind: FunctionKind) -> None:
    assert kind_of_function(text, "f", "mine.py:f") == kind


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(): ...", r"mine\.py:f takes \(\); write build\(params"),
        ("def f(a, b, c, d): ...", r"mine\.py:f takes \(a, b, c, d\)"),
        ("def f(config): return config['x']", r"neither asks it for parameters as Optuna's trial"),
        ("class f:\n  def call(self): ...", "a class without a method build"),
        ("def g(params, trial): ...", r"mine\.py: no function 'f'; it has g"),
    ],
)
def test_one_that_fits_no_kind_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NetworkError, match=reason):
        kind_of_function(text, "f", "mine.py:f")
