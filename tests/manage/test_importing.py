"""`tuner study import`: from each kind of source into a study of toy trials."""

import json

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from toy_study import ANY_X, any_of, toy_spec

from tuner.storage import open_store
from tuner.storage.imported_trials import ImportedTrial, write_imported
from tuner.storage.studies import create_study, load_study
from tuner.storage.trials import list_trials, trial_curve
from tuner.study.ends import TrialEnd
from tuner.study.spec import Choice


@pytest.fixture
def store(tuner, tmp_path):
    """The database of study toy, of parameters x in [0, 1] and kind a or b; val_accuracy counts."""
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    create_study(store, "toy", toy_spec({"x": ANY_X, "kind": any_of("a", "b")}))
    yield store
    store.close()


def trials_of(store):
    return list_trials(store, load_study(store, "toy"))


def curve_of(store, trial):
    rows = trial_curve(store, load_study(store, "toy"), trial)
    return [(row.epoch, row.metrics) for row in rows]


@pytest.fixture(scope="module")
def optuna_url(tmp_path_factory):
    """Five trials of an Optuna study: two pruned, one failed, one complete, one that still runs."""
    url = f"sqlite:///{tmp_path_factory.mktemp('optuna')}/old.db"
    study = optuna.create_study(storage=url, study_name="old", direction="maximize")
    for x, kind in ((0.25, "a"), (0.5, "b"), (0.75, "a")):
        trial = study.ask()
        trial._suggest("u", optuna.distributions.FloatDistribution(0, 1))
        study._storage.set_trial_user_attr(trial._trial_id, "note", "theirs")
        for epoch in range(3):
            trial.report(x + epoch / 100 - (epoch == 2) / 10, epoch)
        study.tell(trial, state=TrialState.FAIL if kind == "b" else TrialState.PRUNED)
    study.add_trial(
        create_trial(
            params={"u": 0.5, "form": "b", "dropout": 0.5},
            distributions={
                "u": optuna.distributions.FloatDistribution(0, 1),
                "form": optuna.distributions.CategoricalDistribution(["a", "b"]),
                "dropout": optuna.distributions.FloatDistribution(0, 1),
            },
            value=0.875,
            intermediate_values={1: 0.5, 2: 0.875, 3: 0.75},
        )
    )
    study.ask()
    return url


def test_an_optuna_study_is_imported_with_its_curves(tuner, store, optuna_url):
    words = ["study", "import", optuna_url, "--rename", "u=x", "--rename", "form=kind"]
    words += ["--ignore", "dropout", "--set", "kind=a"]
    done = tuner(*words)
    assert done.code == 0, done.err
    assert "imported into study toy: 3 trials of Optuna" in done.out
    assert "left out: 1 (fail)" in done.out
    assert "left out: 1 (running)" in done.out
    first, second, best = trials_of(store)
    assert (first.state, first.end, second.end) == ("PRUNED", "imported_pruned", "imported_pruned")
    assert (best.state, best.end, best.value) == ("COMPLETE", "imported", 0.875)
    assert (best.params["x"], best.params["kind"], first.params["kind"]) == (0.5, "b", "a")
    assert (best.last.best_epoch, best.last.epochs) == (3, 4)
    assert curve_of(store, best)[1:] == [
        (3, {"val_accuracy": 0.875}),
        (4, {"val_accuracy": 0.75}),
    ]
    # What pruners are told is the running best.
    frozen = store.optuna.get_trial(best.trial_id)
    assert list(frozen.intermediate_values.values()) == [0.5, 0.875, 0.875]
    assert frozen.user_attrs["imported_from"].endswith("old, trial 3")


def test_a_source_is_imported_once(tuner, store, optuna_url):
    words = ["study", "import", optuna_url, "--rename", "u=x", "--rename", "form=kind"]
    words += ["--ignore", "dropout", "--set", "kind=a"]
    dry = tuner(*words, "--dry-run")
    assert "would be imported into study toy: 3 trials" in dry.out
    assert trials_of(store) == []
    assert tuner(*words).code == 0
    done = tuner(*words)
    assert "0 trials of Optuna" in done.out
    assert "3 were there already" in done.out
    assert len(trials_of(store)) == 3


def test_of_two_imports_at_once_one_writes(store):
    """Neither has seen the other's marks."""
    trial = ImportedTrial("old, trial 0", 0.9, TrialEnd.IMPORTED, mark="m")
    for _ in range(2):
        write_imported(store, load_study(store, "toy"), [trial])
    assert len(trials_of(store)) == 1


def test_epochs_are_where_the_study_reports_them(store):
    spec = load_study(store, "toy").spec.model_copy(
        update={"train_rows": 40_000, "pruner": Choice(name="median")}
    )
    study = create_study(store, "parts", spec)
    curve = {1: {"val_accuracy": 0.5}, 3: {"val_accuracy": 0.75}}
    trial = ImportedTrial("old, trial 0", 0.75, TrialEnd.IMPORTED, mark="m", curve=curve)
    write_imported(store, study, [trial])
    (written,) = list_trials(store, study)
    assert store.optuna.get_trial(written.trial_id).intermediate_values == {4: 0.5, 12: 0.75}
    assert [(row.step, row.epoch) for row in trial_curve(store, study, written)] == [
        (4, 1),
        (12, 3),
    ]


def test_a_moved_table_with_more_rows_adds_those(tuner, store, tmp_path):
    (tmp_path / "old.csv").write_text("x,kind,value\n0.5,a,0.9\n0.5,a,0.9\n")
    tuner("study", "import", "old.csv")
    (tmp_path / "new.csv").write_text("x,kind,value\n0.25,b,0.8\n0.5,a,0.9\n0.5,a,0.9\n")
    done = tuner("study", "import", "new.csv")
    assert "1 trial of table" in done.out
    assert "2 were there already" in done.out
    assert [trial.value for trial in trials_of(store)] == [0.9, 0.9, 0.8]


def test_imported_trials_are_counted_apart_and_take_no_slot(tuner, store, tmp_path):
    (tmp_path / "old.csv").write_text("x,kind,value\n0.5,a,0.9\n0.25,b,0.8\n")
    done = tuner("study", "import", "old.csv")
    next_command = done.out.splitlines()[-1].removeprefix("next: tuner ").split()
    assert tuner(*next_command).code == 0
    shown = json.loads(tuner("study", "show", "--json").out)
    assert (shown["ends"], shown["best_trial"]) == ({"imported": 2}, 0)
    assert (
        store.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM tuner_places").scalar()) == 0
    )
    assert "imported" in tuner("trial", "list").out
    assert f"{tmp_path}/old.csv, trial 0" in " ".join(tuner("trial", "show", "0").out.split())


def test_what_does_not_fit_the_space_is_left_out_with_its_reason(tuner, store, tmp_path):
    (tmp_path / "old.csv").write_text(
        "x,kind,momentum,value\n0.5,a,,0.9\n2,a,,0.9\n0.5,c,,0.9\n0.5,,,0.9\n0.5,a,0.9,0.9\n0.1,a,,\n"
    )
    done = tuner("study", "import", "old.csv")
    assert "1 trial of table" in done.out
    left_out = [line for line in done.out.splitlines() if line.startswith("left out")]
    assert len(left_out) == 5
    for reason in ("x must be in 0 … 1; got 2", "kind must be", "kind has no value", "momentum"):
        assert any(reason in line for line in left_out), (reason, left_out)
    assert "left out: 1 (without a result)" in left_out


def test_rows_of_epochs_and_stored_curves_are_curves(tuner, store, tmp_path):
    (tmp_path / "epochs.csv").write_text(
        "trial,epoch,x,kind,val_accuracy,val_loss\n"
        "7,0,0.5,a,0.5,2\n7,1,0.5,a,0.75,1\n8,0,0.25,b,0.25,3\n"
    )
    (tmp_path / "curves.csv").write_text(
        'x,kind,state,curve\n0.5,a,pruned,"[0.25, 0.5, 0.375]"\n'
        '0.75,b,complete,"{""val_accuracy"": [0.5], ""val_loss"": [2, 1]}"\n'
    )
    for file in ("epochs.csv", "curves.csv"):
        done = tuner("study", "import", file)
        assert done.code == 0, done.err
    seven, eight, pruned, last = trials_of(store)
    assert curve_of(store, seven) == [
        (1, {"val_accuracy": 0.5, "val_loss": 2}),
        (2, {"val_accuracy": 0.75, "val_loss": 1}),
    ]
    assert [trial.value for trial in (seven, eight, pruned, last)] == [0.75, 0.25, 0.5, 0.5]
    assert (pruned.state, pruned.last.best_epoch) == ("PRUNED", 2)
    assert curve_of(store, last)[1] == (2, {"val_loss": 1})


def test_an_export_of_tuner_can_be_imported(tuner, store, tmp_path):
    (tmp_path / "old.csv").write_text("x,kind,value\n0.5,a,0.9\n")
    tuner("study", "import", "old.csv")
    (tmp_path / "export.csv").write_text(tuner("study", "export").out)
    create_study(store, "other", load_study(store, "toy").spec)
    done = tuner("study", "import", "export.csv", "--into", "other")
    assert "imported into study other: 1 trial" in done.out


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x,kind\n1,a\n", "has no column 'val_accuracy', 'value' or 'score'"),
        ("x,kind,epoch,value\n1,a,1,1\n", "a column 'epoch' needs a column 'trial'"),
        ("x,kind,value\n1,a\n", "old.csv, line 2: has not as many cells"),
        ("x,kind,value\n1,a,good\n", "old.csv, line 2: value must be a number, got 'good'"),
        ("x,x,value\n1,2,1\n", "each column needs a name of its own"),
        ("x,kind,curve\n1,a,low\n", "the curve must be a JSON list of numbers"),
        ("trial,epoch,x,value\n1,1,1,1\n1,2,2,1\n", "trial '1' has other parameters in a later"),
        ("trial,epoch,x,value\n1,first,1,1\n", "epoch must be a number, got 'first'"),
    ],
)
def test_a_mistake_in_a_table_is_one_line(tuner, store, tmp_path, content, problem):
    (tmp_path / "old.csv").write_text(content)
    done = tuner("study", "import", "old.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert problem in done.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nowhere"], "'nowhere' is no source of trials: give the URL of an Optuna database"),
        (["none.csv"], "none.csv: there is no such file"),
        (["sqlite:///none.db"], "cannot be read as an Optuna database: there is no such file"),
        (["OLD", "--study", "new"], "has no study 'new'; there are: 'old'"),
        (["sqlite:///none.db", "--experiment", "x"], "none.db: there is no such file"),
        (["old.csv", "--rename", "x"], "--rename: expected THEIRS=OURS"),
        (["old.csv", "--into", "none"], "no study named 'none'"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(tuner, store, optuna_url, words, problem):
    words = [optuna_url if word == "OLD" else word for word in words]
    done = tuner("study", "import", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert problem in done.err


def test_another_direction_or_objective_is_refused(tuner, store, tmp_path):
    url = f"sqlite:///{tmp_path}/losses.db"
    study = optuna.create_study(storage=url, direction="minimize")
    study.add_trial(create_trial(value=1.0))
    assert "its objective is to minimize" in tuner("study", "import", url).err
    study.set_metric_names(["val_loss"])
    done = tuner("study", "import", url)
    assert "its trials have no val_accuracy, they were run for val_loss" in done.err
    assert "--metric val_loss" in done.err


KERAS_SPACE = [
    ("Float", {"name": "x", "default": 0.0, "min_value": 0.0, "max_value": 1.0, "step": None}),
    ("Choice", {"name": "kind", "default": "a", "values": ["a", "b"], "ordered": False}),
    ("Fixed", {"name": "units", "value": 3}),
]


def write_keras_folder(folder, trials):
    """A folder as KerasTuner 1.4.8 writes it: (x, kind, epochs, accuracy, status) of each trial."""
    folder.mkdir()
    (folder / "oracle.json").write_text("{}")
    space = [{"class_name": name, "config": {**c, "conditions": []}} for name, c in KERAS_SPACE]
    for number, (x, kind, epochs, accuracy, status) in enumerate(trials):
        values = {"x": x, "kind": kind, "units": 3, "tuner/epochs": epochs, "tuner/bracket": 1}
        metrics = {
            "val_loss": {"direction": "min", "observations": [{"value": [1.5], "step": 4}]},
            "val_accuracy": {
                "direction": "max",
                "observations": [{"value": [accuracy - 0.125, accuracy + 0.125], "step": 4}],
            },
        }
        content = {
            "trial_id": f"{number:04}",
            "hyperparameters": {"space": space, "values": values},
            "metrics": {"metrics": metrics if status == "COMPLETED" else {}},
            "score": accuracy if status == "COMPLETED" else None,
            "best_step": 4,
            "status": status,
            "message": None,
        }
        trial = folder / f"trial_{number:04}"
        trial.mkdir()
        (trial / "trial.json").write_text(json.dumps(content))


def test_a_keras_tuner_folder_is_imported(tuner, store, tmp_path):
    write_keras_folder(
        tmp_path / "search",
        [
            (0.5, "a", 3, 0.5, "COMPLETED"),
            (0.25, "b", 9, 0.75, "COMPLETED"),
            (0.125, "b", 9, 0.75, "FAILED"),
        ],
    )
    done = tuner("study", "import", "search", "--ignore", "units")
    assert done.code == 0, done.err
    assert "2 trials of KerasTuner" in done.out
    assert "left out: 1 (failed)" in done.out
    pruned, best = trials_of(store)
    assert (pruned.end, best.end, best.value) == ("imported_pruned", "imported", 0.75)
    assert curve_of(store, best) == [(5, {"val_accuracy": 0.75, "val_loss": 1.5})]


def test_another_objective_of_keras_tuner_is_named(tuner, store, tmp_path):
    spec = load_study(store, "toy").spec
    create_study(store, "f1", spec.model_copy(update={"metric": "val_f1"}))
    write_keras_folder(tmp_path / "search", [(0.5, "a", 3, 0.5, "COMPLETED")])
    done = tuner("study", "import", "search", "--into", "f1")
    assert "they were run for val_accuracy" in done.err
    done = tuner("study", "import", "search", "--into", "f1", "--metric", "val_accuracy")
    assert "left out: 1 (" in done.out  # units is not in the space
    write_keras_folder(tmp_path / "broken", [(0.5, "a", 3, 0.5, "COMPLETED")])
    (tmp_path / "broken" / "trial_0000" / "trial.json").write_text("{")
    done = tuner("study", "import", "broken")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is no trial of KerasTuner" in done.err


def test_an_mlflow_experiment_is_imported(tuner, store, tmp_path, make_mlflow_tables):
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    make_mlflow_tables(tmp_path / "theirs.db", tmp_path / "artifacts")
    uri = f"sqlite:///{tmp_path}/theirs.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("old")
    for x, end in (("0.5", "FINISHED"), ("0.25", "FAILED"), ("0.75", "FINISHED")):
        run = client.create_run(experiment)
        values = enumerate((0.25, float(x), 0.125))
        metrics = [Metric("val_acc", value, 1000 + epoch, epoch) for epoch, value in values]
        client.log_batch(run.info.run_id, metrics, [Param("x", x), Param("kind", "a")])
        client.set_terminated(run.info.run_id, end)
    done = tuner("study", "import", uri, "--experiment", "old", "--metric", "val_acc")
    assert done.code == 0, done.err
    assert "left out: 1 (failed)" in done.out
    first, second = trials_of(store)
    assert (first.value, second.value) == (0.5, 0.75)
    assert curve_of(store, first)[1] == (2, {"val_accuracy": 0.5})
    done = tuner("study", "import", uri, "--experiment", "none")
    assert "has no experiment 'none'" in done.err
