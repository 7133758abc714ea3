"""What studies and trials say: tables, curves, Optuna's view, names."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from api_studies import QUICK, toy
from toy_study import Bench

import tuner
from tuner import StudyError, UsageError, errors

MATRIX = np.zeros((300, 4))
HEAVY = ("tensorflow", "keras", "optuna", "pandas", "mlflow", "sqlalchemy", "pydantic", "numpy")


def test_importing_tuner_imports_nothing_else() -> None:
    code = f"import sys, tuner; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_all_names_are_there_for_programs_and_for_type_checkers() -> None:
    assert all(getattr(tuner, name) is not None for name in tuner.__all__)
    assert set(tuner.__all__) <= set(dir(tuner))
    with pytest.raises(AttributeError, match="has no attribute 'craete_study'"):
        _ = tuner.craete_study  # type: ignore[attr-defined]
    source = Path(str(tuner.__file__))
    (block,) = (node for node in ast.parse(source.read_text()).body if isinstance(node, ast.If))
    typed = {
        alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed | {"__version__"} == set(tuner.__all__)
    assert source.with_name("py.typed").exists()


def test_errors_that_a_call_may_raise_are_offered_and_documented() -> None:
    inner = {
        "LeaseLost",
        "LocationError",
        "NoticeError",
        "SlotLost",
    }  # a call handles them, or names them otherwise
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.TunerError)
    }
    assert raised - set(tuner.__all__) == inner
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    documented = {line.removeprefix("::: tuner.") for line in page.splitlines() if ":::" in line}
    assert documented | {"__version__"} == set(tuner.__all__)


def test_a_table_and_curves(bench: Bench) -> None:
    study = toy(bench)
    study.optimize(2, **QUICK)
    queued = study.enqueue_trial({"x": 0.25})
    frame = study.to_dataframe()
    assert frame.index.name == "trial"
    assert list(frame["state"]) == ["complete", "complete", "waiting"]
    assert list(frame["x"])[2] == 0.25
    for trial in study.trials[:2]:
        curves = study.curves(trial)
        assert list(curves.index) == [1, 2, 3]
        assert curves["val_accuracy"].max() == trial.value
        best = curves.loc[trial.best_epoch]
        assert trial.metrics == dict(best)
        assert frame.loc[trial.number, "val_accuracy"] == trial.value
    assert study.trial(2) == queued
    assert (queued.state, queued.value, queued.metrics) == ("waiting", None, {})
    assert queued.curves().empty
    assert repr(queued) == "Trial(2, state='waiting', params={'x': 0.25})"


def test_a_parameter_may_be_called_as_a_metric(bench: Bench) -> None:
    study = toy(bench, val_loss={"type": "float", "low": 5.0, "high": 6.0})
    study.optimize(1, **QUICK)
    (trial,), (row,) = study.trials, study.to_dataframe().to_dict("records")
    assert row["val_loss"] == trial.metrics["val_loss"]
    assert row["val_loss_param"] == trial.params["val_loss"]


def test_a_damaged_study_is_left_out_and_named(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    good = toy(bench, name="good")
    toy(bench, name="bad")
    with bench.store.writer.begin() as connection:
        connection.exec_driver_sql("UPDATE tuner_studies SET spec = '{}' WHERE name = 'bad'")
    assert tuner.list_studies() == [good]
    (record,) = (each for each in caplog.records if each.name == "tuner")
    assert record.getMessage().startswith("study bad is left out, because it is damaged: ")
    assert record.getMessage().count("damaged") == 1


def test_trials_are_queued_again(bench: Bench) -> None:
    study = toy(bench)
    study.optimize(1, **QUICK)
    first = study.trial(0)
    again = study.retry(first)
    assert (again.number, again.state, again.params["x"]) == (1, "waiting", first.params["x"])
    assert len({study.trial(0), first, again}) == 2


def test_optuna_reads_a_study_and_cannot_write_it(bench: Bench) -> None:
    study = toy(bench)
    view = study.optuna_study
    study.optimize(3, **QUICK)
    assert [trial.number for trial in view.get_trials()] == [0, 1, 2]
    assert view.get_trials(states=(optuna.trial.TrialState.PRUNED,)) == []
    assert view.best_value == study.best_value
    assert view.metric_names == ["val_accuracy"]
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    assert set(optuna.importance.get_param_importances(view, evaluator=evaluator)) == {"x"}
    before = [trial.value for trial in view.trials]
    writes: list[Any] = [
        lambda: view.optimize(lambda trial: 1.0, n_trials=1),
        lambda: view.ask(),
        lambda: view.enqueue_trial({"x": 1.0}),
        lambda: view.set_user_attr("a", 1),
        lambda: view.set_metric_names(["mine"]),
        lambda: optuna.delete_study(study_name="toy", storage=view._storage),
    ]
    for write in writes:
        with pytest.raises(StudyError, match="read-only"):
            write()
    assert [trial.value for trial in view.trials] == before


def _other() -> tuner.Trial:
    """A trial of another study, which waits."""
    return tuner.create_study("other", data="iris").enqueue_trial({})


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda study: study.trial(7), "study 'toy' has no trial 7"),
        (lambda study: study.trial(True), "a trial is a Trial or its number, got True"),
        (lambda study: study.retry("1"), "a trial is a Trial or its number, got '1'"),
        (lambda study: study.curves(_other()), "is one of study 'other', not of 'toy'"),
        (lambda study: study.retry(_other()), "is one of study 'other', not of 'toy'"),
        (lambda study: _other().model(), "of study 'other' has no network yet"),
        (lambda study: study.trial(MATRIX), "a trial is a Trial or its number, got array"),
        (lambda study: study.enqueue_trial(5), "params must be values by name, got 5"),
        (lambda study: study.enqueue_trial({"y": 1}), "y is no parameter of this space"),
        (lambda study: study.best_trial, "has no finished trial yet"),
        (lambda study: study.delete(force="no"), "force must be True or False, got 'no'"),
        (lambda study: study.trust_code("0"), "is not a hash of this study's code"),
        (lambda study: study.trust_code(5), "hash 1 must be a text, got 5"),
        (lambda study: tuner.load_study("tyo"), "no study named 'tyo'"),
        (lambda study: tuner.load_study(5), "name must be a text, got 5"),
        (lambda study: tuner.load_study(storage=5), "storage must be a path or a URL such"),
        (lambda study: tuner.create_study("a", target="y"), "target needs data"),
        (lambda study: tuner.create_study("a", data="iris", space=5), "space must be a text, a"),
        (lambda study: tuner.create_study("a", data="iris", params=5), "params must be values by"),
        (lambda study: tuner.create_study("a", data="iris", direction="up"), "direction: must be"),
        (lambda study: tuner.create_study("a", data="iris", sampler=5), "sampler: must be a name"),
        (lambda study: tuner.create_study("a", data="iris", record=5), "record must be a list of"),
        (lambda study: tuner.create_study("a", data="iris", seed=0.5), "seed must be a whole"),
        (lambda study: tuner.create_study("a", data="iris", seed=None), "seed must be a whole"),
        (lambda study: tuner.create_study("a", data="iris", metric=5), "metric must be a name"),
        (lambda study: tuner.create_study("a", data="iris", record=[5]), "record must be a name"),
    ],
)
def test_mistakes_are_named(bench: Bench, use: Any, message: str) -> None:
    study = toy(bench)
    with pytest.raises(UsageError) as raised:
        use(study)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "option",
    sorted(set(inspect.signature(tuner.create_study).parameters) - {"data", "target"}),
)
def test_an_array_in_a_wrong_place_is_told_in_one_line(bench: Bench, option: str) -> None:
    options: dict[str, Any] = {"data": "iris", option: MATRIX}
    with pytest.raises(UsageError) as raised:
        tuner.create_study(**options)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_numbers_of_numpy_and_a_path_as_text_are_taken(bench: Bench) -> None:
    study = tuner.create_study(
        "numpy", data="iris", epochs=np.int64(3), seed=np.uint8(1), storage="other.db"
    )
    assert study.trials[0] == study.trial(np.int64(0))
    assert tuner.list_studies(storage=Path("other.db")) == [study]
    assert tuner.list_studies(storage="other.db") == [study]


def test_the_current_folder_may_change(bench: Bench, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        study = toy(bench)
        (tmp_path / "elsewhere").mkdir()
        patch.chdir(tmp_path / "elsewhere")
        assert study.trials == []
        assert tuner.list_studies() == []
        assert tuner.list_studies(storage=tmp_path / "tuner.db") == [study]
    assert not list((tmp_path / "elsewhere").iterdir())
