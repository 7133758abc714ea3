"""`tuner trial plot` and `tuner study plot`: what is drawn, in the terminal and into files."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import trial_writes
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from toy_study import ANY_X, toy_spec

from tuner.reports.study_plots import STUDY_PLOTS
from tuner.storage import Store, leases, open_store, slots
from tuner.storage.attempt_rows import record_report
from tuner.storage.studies import create_study
from tuner.study.messages import Report
from tuner.study.spec import Choice

# Training and validation values of each report of trial 0. The best epoch is 2: its curve falls
# after that, and the first epoch has two reports.
LOSS = [2.0, 1.5, 1.0, 0.9, 0.8]
VAL_LOSS = [2.1, 1.6, 1.2, 1.3, 1.4]
VAL_ACCURACY = [0.3, 0.4, 0.7, 0.6, 0.5]
EPOCHS = [1, 1, 2, 3, 4]

LR = FloatDistribution(1e-4, 1.0, log=True)
DEPTH = IntDistribution(1, 2)
WIDTH = IntDistribution(8, 512, log=True)
KIND = CategoricalDistribution(("sgd", "a\x1b[31m$d$am", True))
RATE = FloatDistribution(0.0, 1.0)
ONE = IntDistribution(3, 3)


def searched(number: int, loss: float, **changes: Any) -> FrozenTrial:
    """A trial whose loss depends on the learning rate alone."""
    depth = 1 + number % 2
    params = {"lr": 10.0 ** -(1 + number % 4), "depth": depth, "kind": KIND.choices[number % 3]}
    distributions: dict[str, Any] = {"lr": LR, "depth": DEPTH, "kind": KIND, "one": ONE}
    for layer in range(depth):
        params[f"width_{layer + 1}"] = 8 << number % 5
        distributions[f"width_{layer + 1}"] = WIDTH
    if params["kind"] == "sgd":
        params["rate"], distributions["rate"] = number / 50, RATE
    values = {"params": params | {"one": 3}, "distributions": distributions, "value": loss}
    return create_trial(**values | changes)


def pruned(number: int, loss: float, infeasible: bool = False) -> FrozenTrial:
    trial = searched(number, loss, state=TrialState.PRUNED)
    if infeasible:
        trial.system_attrs["constraints:feasible"] = 1.0  # as ours are told
    return trial


def add_study(store: Store, name: str, trials: list[FrozenTrial], **options: Any) -> None:
    goal = {"metric": "val_loss", "direction": "minimize"}
    spec = toy_spec({"x": ANY_X}, **goal | options)
    create_study(store, name, spec)
    optuna.load_study(study_name=name, storage=store.optuna).add_trials(trials)


def add_curves(store: Store) -> None:
    """Trial 0 has curves, trial 1 ended before its first report, trial 2 diverged, trial 3 is in
    the middle of its first epoch."""
    study = create_study(store, "curves", toy_spec({"x": 0.5}))
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 4)
    slot = trial_writes.begun(store, lease)
    metrics = zip(LOSS, VAL_LOSS, VAL_ACCURACY, strict=True)
    for step, (epoch, values) in enumerate(zip(EPOCHS, metrics, strict=True), start=1):
        named = dict(zip(("loss", "val_loss", "val_accuracy"), values, strict=True))
        record_report(store, lease, slot, Report(step, epoch, step > 1, named))
    trial_writes.complete(store, lease, slot, 0.7)
    trial_writes.fail(store, lease, trial_writes.begun(store, lease))
    slot = trial_writes.begun(store, lease)
    for epoch, value in enumerate((0.2, math.nan), start=1):
        record_report(store, lease, slot, Report(epoch, epoch, True, {"val_accuracy": value}))
    trial_writes.complete(store, lease, slot, 0.2)
    slot = trial_writes.begun(store, lease)
    for step, value in enumerate((0.1, 0.2), start=1):
        record_report(store, lease, slot, Report(step, 1, False, {"val_accuracy": value}))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with a few studies."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('plots')}/tuner.db")
    losses = [0.1 + 0.2 * abs(number % 4 - 2) + number / 1000 for number in range(40)]
    trials = [searched(number, loss) for number, loss in enumerate(losses)]
    trials[5] = searched(5, math.inf)
    trials[6] = pruned(6, 0.35)
    trials[7] = pruned(7, 9.0)
    trials[8] = pruned(8, 0.4, infeasible=True)
    trials[9] = searched(9, 1e6)
    add_study(store, "search", trials)
    add_study(store, "one", [searched(0, 1.0)])
    add_study(store, "same", [searched(number, 0.5) for number in range(5)])
    add_study(store, "fixed", [create_trial(params={}, distributions={}, value=v) for v in (1, 2)])
    add_study(store, "empty", [])
    climbing = [searched(number, value) for number, value in enumerate((0.5, 0.9, 0.7))]
    add_study(store, "climbing", climbing, metric="val_accuracy", direction="maximize")
    compared = {"held_out": "test", "metric": "test_accuracy", "sampler": Choice(name="listed")}
    create_study(store, "compared", toy_spec({"x": 0.5}).model_copy(update=compared))
    add_curves(store)
    yield store.url.render_as_string()
    store.close()


@pytest.fixture
def plot(tuner: Any, url: str) -> Any:
    """plot("study", "history", "search") runs that command on the database."""
    return lambda group, *words: tuner("--storage", url, group, "plot", *words)


@pytest.fixture
def drawn(plot: Any) -> Any:
    """The data of a chart."""

    def run(*words: str) -> dict[str, Any]:
        done = plot(*words, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    return run


def by_label(panel: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {series["label"]: series for series in panel["series"]}


def test_a_trial_s_curves_are_raw_and_mark_the_best_epoch(drawn: Any) -> None:
    chart = drawn("trial", "0", "--study", "curves")
    loss, accuracy = chart["panels"]
    assert (loss["y"]["label"], accuracy["y"]["label"]) == ("loss", "accuracy")
    series = by_label(loss)
    assert series["training"]["y"] == LOSS
    assert series["validation"]["y"] == VAL_LOSS
    assert series["training"]["x"] == [0.5, 1.0, 2.0, 3.0, 4.0]
    assert (series["best epoch"]["x"], series["best epoch"]["y"]) == ([2.0], [1.2])
    assert by_label(accuracy)["validation"]["y"] == VAL_ACCURACY
    assert by_label(accuracy)["best epoch"]["y"] == [0.7]
    assert chart["title"] == "study curves, trial 0: complete, val_accuracy 0.7000"


def test_without_a_number_it_is_the_best_trial(drawn: Any) -> None:
    assert drawn("trial", "--study", "curves") == drawn("trial", "0", "--study", "curves")


def test_several_trials_show_the_objective(drawn: Any) -> None:
    chart = drawn("trial", "2", "0", "1", "0", "--study", "curves")
    (panel,) = chart["panels"]
    series = by_label(panel)
    assert series["trial 0"]["y"] == VAL_ACCURACY
    assert series["trial 2"]["y"] == [0.2]
    assert chart["caption"] == ["not drawn: trial 1 has finished no epoch (user error)"]


def test_reports_of_an_unfinished_epoch_lie_before_its_end(drawn: Any) -> None:
    (panel,) = drawn("trial", "3", "--study", "curves")["panels"]
    assert by_label(panel)["validation"]["x"] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]


def test_values_that_are_no_numbers_are_named(drawn: Any) -> None:
    chart = drawn("trial", "2", "--study", "curves")
    assert chart["caption"][-1] == "val_accuracy is no finite number from epoch 2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1"], "study 'curves': trial 1 has finished no epoch (user error)"),
        (["1", "1", "1"], "study 'curves': trial 1 has finished no epoch (user error)"),
        (["9"], "study 'curves' has no trial 9"),
        (map(str, range(11)), "at most 10 trials can be told apart in one chart, got 11"),
        (["0", "--save", "x.gif"], "x.gif: must end in .png, .svg, .pdf"),
        (["0", "--save", "/dev/null/x.png"], "/dev/null/x.png: cannot be written: /dev/null is "),
    ],
)
def test_trials_that_cannot_be_drawn(words: Any, message: str, plot: Any) -> None:
    done = plot("trial", *words, "--study", "curves")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"tuner: {message}")


def test_in_a_pipe_a_chart_is_plain_text_of_80_columns(plot: Any) -> None:
    lines = plot("trial", "0", "--study", "curves").out.splitlines()
    assert lines[0] == "study curves, trial 0: complete, val_accuracy 0.7000"
    assert "training" in lines[1]
    assert re.search(r"loss by epoch +accuracy by epoch", lines[2])
    assert re.search(r"[⠁-⣿]{4}", "".join(lines))
    assert "\x1b" not in "".join(lines)
    assert max(map(len, lines)) <= 80
    assert len(lines) < 24


def test_history_tells_ends_apart_and_follows_the_direction(drawn: Any) -> None:
    chart = drawn("study", "history", "search")
    (panel,) = chart["panels"]
    series = by_label(panel)
    assert (panel["x"]["label"], panel["y"]["label"]) == ("trial", "val_loss")
    assert (series["pruned"]["x"], series["pruned"]["y"]) == ([6.0, 7.0], [0.35, 9.0])
    assert (series["infeasible"]["x"], series["infeasible"]["y"]) == ([8.0], [0.4])
    numbers = series["complete"]["x"]
    assert numbers == [n for n in range(40) if n not in (5, 6, 7, 8)]  # 5 has no finite score
    best = series["best so far"]["y"]
    assert best == sorted(best, reverse=True)
    assert best[-1] == min(series["complete"]["y"])
    # Trial 9 would make all others look alike.
    assert panel["y"]["limits"][1] < 1
    assert chart["caption"] == ["out of the frame: 1 pruned, 1 complete"]


def test_of_a_score_to_maximize_the_largest_is_best(drawn: Any) -> None:
    (history,) = drawn("study", "history", "climbing")["panels"]
    assert by_label(history)["best so far"]["y"] == [0.5, 0.9, 0.9, 0.9]
    first, *_ = drawn("study", "slice", "climbing")["panels"]
    assert by_label(first)["best"]["y"] == [0.9]
    (parallel,) = drawn("study", "parallel", "climbing")["panels"]
    assert (parallel["trials"], parallel["scores"]) == ([1, 2, 0], [0.9, 0.7, 0.5])


def test_importance_of_few_trials_is_called_a_hint(drawn: Any) -> None:
    caption = drawn("study", "importance", "climbing")["caption"]
    assert caption[1:] == ["these are few: take it as a hint"]
    assert len(drawn("study", "importance", "search")["caption"]) == 1


def test_importance_finds_what_matters(drawn: Any, plot: Any) -> None:
    chart = drawn("study", "importance", "search")
    (bars,) = chart["panels"]
    assert bars["names"][0] == "lr"
    assert {"width_1", "width_2", "rate", "kind", "depth"} == {*bars["names"][1:]}
    assert sum(bars["values"]) == pytest.approx(1)
    assert chart["caption"][0] == "PED-ANOVA over 36 completed trials; all sum up to 1"
    assert re.search(r" lr █+ 0\.\d{3}\n", plot("study", "importance", "search").out)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("one", "study 'one' has one completed trial; importance needs at least two"),
        ("same", "all 5 completed trials have the same val_loss, 0.5, so which"),
        ("fixed", "study 'fixed': no parameter varies, so none can matter"),
        ("empty", "study 'empty' has no finished trial yet; run: tuner "),
        ("compared", "study 'compared' is a comparison: study plot is refused"),
    ],
)
def test_what_importance_needs(study: str, message: str, plot: Any) -> None:
    done = plot("study", "importance", study)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_slices_have_each_parameter_that_varies(drawn: Any) -> None:
    chart = drawn("study", "slice", "search")
    panels = {panel["x"]["label"]: panel for panel in chart["panels"]}
    assert [*panels] == ["lr", "depth", "kind", "width_1", "rate", "width_2"]
    assert panels["lr"]["x"]["log"] is True
    assert panels["kind"]["x"]["choices"] == ["sgd", '"a\\u001b[31m$d$am"', "true"]
    assert {*by_label(panels["kind"])["complete"]["x"]} == {0.0, 1.0, 2.0}
    # Only the trials that have it.
    assert len(by_label(panels["rate"])["complete"]["x"]) == 13
    best = by_label(panels["lr"])["best"]
    assert (best["x"], best["y"]) == ([1e-3], [pytest.approx(0.102)])


def test_parallel_orders_trials_by_their_scores(drawn: Any, plot: Any) -> None:
    (parallel,) = drawn("study", "parallel", "search")["panels"]
    assert parallel["trials"][:3] == [2, 10, 14]
    assert parallel["trials"][-1] == 9
    assert parallel["scores"] == sorted(parallel["scores"])
    scales = {scale["label"]: scale for scale in parallel["scales"]}
    assert scales["rate"]["values"][0] is None  # trial 2 has no such parameter
    out = plot("study", "parallel", "search").out
    assert "1: trial 2 (0.1020), 2: trial 10" in " ".join(out.split())
    assert re.search(r"depth +1 1─+· 2\n", out)
    assert "\x1b" not in out


def test_the_help_names_all_plots(tuner: Any) -> None:
    text = tuner("study", "plot", "--help").out
    assert all(f"{kind}:" in text for kind in STUDY_PLOTS)


def test_some_parameters_only(drawn: Any, plot: Any) -> None:
    chart = drawn("study", "slice", "search", "--param", "width", "--param", "lr")
    assert [panel["x"]["label"] for panel in chart["panels"]] == ["width_1", "width_2", "lr"]
    done = plot("study", "slice", "search", "--param", "wdth")
    assert done.err.startswith("tuner: unknown parameter 'wdth'; there are: ")
    done = plot("study", "history", "search", "--param", "lr")
    assert (done.code, "leave out --param" in done.err) == (2, True)
    done = plot("study", "histroy", "search")
    start, _, names = done.err.strip().partition("; there are: history, ")
    assert start == "tuner: unknown plot 'histroy'"
    assert {"history", *names.split(", ")} == {*STUDY_PLOTS}


@pytest.mark.parametrize("kind", ["history", "slice", "parallel"])
@pytest.mark.parametrize("study", ["one", "same"])
def test_few_trials_are_drawn_too(kind: str, study: str, plot: Any) -> None:
    done = plot("study", kind, study)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80


MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize(
    ("words", "suffix"),
    [
        (["trial", "0", "--study", "curves"], ".png"),
        (["trial", "0", "2", "--study", "curves"], ".pdf"),
        (["study", "history", "search"], ".png"),
        (["study", "slice", "search", "--param", "kind", "--param", "lr"], ".png"),
        (["study", "parallel", "search"], ".svg"),
        (["study", "parallel", "one"], ".png"),
    ],
)
def test_pictures(words: list[str], suffix: str, plot: Any, tmp_path: Path) -> None:
    file = Path("pictures", f"picture{suffix}")
    done = plot(*words, "--save", str(file))
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"\nwrote {file}\n")
    content = (tmp_path / file).read_bytes()
    assert content.startswith(MAGIC[suffix])
    if suffix == ".svg":
        assert b"width_1 (log)" in content


@pytest.mark.parametrize("kind", ["history", "slice"])
def test_pages_are_optuna_s_own(kind: str, plot: Any, tmp_path: Path) -> None:
    done = plot("study", kind, "search", "--save", "page.html")
    assert (done.code, done.err) == (0, "")
    page = (tmp_path / "page.html").read_text()
    assert "val_loss" in page[-50_000:]
    assert "cdn.plot.ly" not in page[-50_000:]  # It needs no network.


def test_pages_need_plotly(plot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("optuna.visualization.is_available", lambda: False)
    done = plot("study", "history", "search", "--save", "page.html")
    assert (done.code, done.out) == (2, "")
    assert "pages need plotly, which is not installed: pip install plotly; or" in done.err
    assert list(tmp_path.iterdir()) == []
