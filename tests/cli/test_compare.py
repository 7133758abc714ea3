"""`tuner compare` as a command, with a training of no weight."""

import csv
import functools
import json
import statistics
from contextlib import closing

import pytest
import sqlalchemy as sa
from toy_study import Bench
from toy_training import CODE, PARAMETERS, TOY, score_at

from tuner.reports.comparisons import train
from tuner.runner import Limits, SearchOptions, optimize, slots_wanted
from tuner.runner.trial_writer import trial_seed
from tuner.settings import load_settings
from tuner.storage import open_store
from tuner.storage.schema import studies
from tuner.storage.studies import load_study

pytestmark = pytest.mark.usefixtures("own_fork_server")

FILE = """
network: toy.py:build
data: points.npz
parameters:
  x: {type: float, low: 0, high: 1}
  epochs: {type: int, low: 1, high: 9}
  act: {type: categorical, choices: [learn, nan]}
baselines:
  - {x: 0.5, epochs: 2, act: learn}
  - {x: 0.75, epochs: 4, act: learn}
references: [36, 75]
"""
GRID = """
network: toy.py:build
data: points.npz
parameters:
  x: {type: categorical, choices: [0.25, 0.5, 1.0]}
  epochs: {type: int, low: 1, high: 2}
"""
COMPARE = ["compare", "./mine.yaml", "--workers", "1", "--no-tracking"]


@pytest.fixture
def compare(tuner, untried, tmp_path, monkeypatch):
    """compare(*words) runs the command on mine.yaml; its trials are toys."""
    (tmp_path / "mine.yaml").write_text(FILE)
    (tmp_path / "grid.yaml").write_text(GRID)
    (tmp_path / "toy.py").write_text(CODE)
    Bench.write_data(tmp_path / "points.npz")
    monkeypatch.setattr("tuner.reports.comparisons.train", functools.partial(train, entry=TOY))
    return lambda *words: tuner(*COMPARE, *words)


def scores(x, epochs, trials):
    """What toys score, in percent, by their own rule."""
    params = PARAMETERS | {"x": x, "act": "learn"}
    return [100 * score_at(params, trial_seed(0, number), epochs) for number in trials]


def test_a_file_of_one_configuration_that_searches_nothing(compare, tmp_path):
    constants = FILE.partition("parameters:")[0] + "parameters: {x: 0.5, epochs: 2, act: learn}\n"
    (tmp_path / "mine.yaml").write_text(constants + "baselines: [{epochs: 2}]\n")
    (row,) = json.loads(compare("--seeds", "2", "--json").out)["rows"]
    assert row["seeds"] == 2
    assert row["test_accuracy_percent_mean"] == pytest.approx(
        statistics.mean(scores(0.5, 2, (0, 1)))
    )


def test_nothing_is_chosen_in_a_comparison(compare, tuner, tmp_path):
    done = compare("--seeds", "1")
    assert "new best" not in done.out + done.err
    assert not list((tmp_path / ".tuner").rglob("*.keras"))
    (listed,) = json.loads(tuner("study", "list", "--json").out)
    assert (listed["finished"], listed["best"]) == (2, None)
    refused = tuner("study", "best", "compare-mine-points")
    assert refused.code == 2
    assert "is a comparison: nothing is chosen in it" in refused.err


LOOKING = [
    ["study", "show", "--json"], ["trial", "list"], ["trial", "show", "0"], ["study", "export"],
    ["study", "code"], ["study", "repair"],
]  # fmt: skip


def test_without_a_name_commands_take_the_search(compare, tuner, tmp_path):
    compare("--seeds", "1")
    # While there is no search, a comparison is better than nothing.
    assert json.loads(tuner("study", "show", "--json").out)["study"] == "compare-mine-points"
    with closing(open_store(f"sqlite:///{tmp_path}/tuner.db")) as store:
        bench = Bench(tmp_path, store)
        bench.create(name="older-search")
        bench.create(name="search", baselines=[{"x": 0.5}])
        bench.run(1)
        with store.writing() as connection:
            newest = sa.update(studies).where(studies.c.name.like("compare-%"))
            connection.execute(newest.values(created_at=4e9))
    for words in LOOKING:
        done = tuner(*words)
        assert done.code == 0, done.err
        assert "compare-mine" not in done.out
    assert json.loads(tuner("study", "show", "--json").out)["study"] == "search"
    assert "study search: trial" in tuner("trial", "add", "x=0.25").out


@pytest.mark.parametrize(
    "words",
    [
        ["optimize", "compare-mine-points", "--more", "1"],
        ["trial", "add", "x=0.25", "--study", "compare-mine-points"],
        ["trial", "retry", "0", "--study", "compare-mine-points"],
    ],
)
def test_what_would_search_in_a_comparison_is_refused(compare, tuner, words):
    compare("--seeds", "1")
    before = tuner("study", "export", "compare-mine-points").out
    refused = tuner(*words)
    assert refused.code == 2
    assert len(refused.err.splitlines()) == 1
    assert "is a comparison" in refused.err
    assert "repeat the compare command" in refused.err
    assert tuner("study", "export", "compare-mine-points").out == before


def test_the_whole_way(compare, tmp_path):
    done = compare("--seeds", "2", "--json")
    assert (done.code, done.err) == (0, "tuner: net.py:build is given all it needs\n")
    told = json.loads(done.out)
    assert (told["study"], told["metric"]) == ("compare-mine-points", "test_accuracy")
    first, second = told["rows"]
    assert (first["x"], first["epochs"], second["x"], second["epochs"]) == (0.5, 2, 0.75, 4)
    for row, numbers in ((first, (0, 2)), (second, (1, 3))):
        wanted = scores(row["x"], row["epochs"], numbers)
        assert row["seeds"] == 2
        assert row["test_accuracy_percent_mean"] == pytest.approx(statistics.mean(wanted))
        assert row["test_accuracy_percent_std"] == pytest.approx(statistics.stdev(wanted))
    assert (first["reached"], second["reached"]) == (True, False)
    names = ["comparisons/compare-mine-points.md", "comparisons/compare-mine-points.csv"]
    assert told["files"] == names
    assert all((tmp_path / name).is_file() for name in names)


def test_the_table_for_people(compare, tmp_path):
    done = compare("--to", "out/table", "--seeds", "1")
    assert "scored on the test split after each last epoch" in done.out
    assert "trained on train + validation (51 rows)" in done.out
    assert "wrote out/table.md, out/table.csv" in done.out
    assert "test accuracy %" in done.out
    page = (tmp_path / "out" / "table.md").read_text()
    assert page.startswith("# compare-mine-points\n")
    assert "| 0.75 | 4 | 1 |" in page
    assert "The same for all: act learn, batch_size 32" in page


def test_the_same_again_trains_nothing_and_more_seeds_add(compare, tuner, tmp_path):
    compare("--seeds", "1")
    before = json.loads(tuner("trial", "list", "--json").out)
    again = compare("--seeds", "1")
    assert again.code == 0
    assert "starting the workers" not in again.out
    assert compare("--seeds", "3").code == 0
    after = json.loads(tuner("trial", "list", "--json").out)
    assert after[:2] == before
    assert [trial["params"]["x"] for trial in after] == [0.5, 0.75] * 3
    rows = list(csv.DictReader((tmp_path / "comparisons/compare-mine-points.csv").open()))
    assert [row["seeds"] for row in rows] == ["3", "3"]
    # Fewer seeds than there are take nothing away.
    assert [row["seeds"] for row in json.loads(compare("--json").out)["rows"]] == [3, 3]


def test_what_diverged_is_noted(compare, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        FILE.replace("epochs: 4, act: learn", "epochs: 4, act: nan")
    )
    first, second = json.loads(compare("--seeds", "2", "--json").out)["rows"]
    assert (first["seeds"], first["notes"]) == (2, None)
    assert (second["seeds"], second["notes"]) == (0, "2 diverged")
    assert second["test_accuracy_percent_mean"] is None


def test_a_grid_of_two_numbers_is_a_heat_map_too(compare, tuner, tmp_path):
    words = ["./grid.yaml", "--seeds", "1", "--workers", "2", "--no-tracking"]
    done = tuner("compare", *words, "--to", "map")
    assert "wrote map.md, map.csv, map.png" in done.out
    assert "epochs" in done.out
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert "![compare-grid-points](map.png)" in (tmp_path / "map.md").read_text()
    assert len(json.loads(tuner("trial", "list", "--json").out)) == 6


def test_set_fixes_a_parameter_for_all(compare):
    rows = json.loads(compare("--set", "epochs=1", "--seeds", "1", "--json").out)["rows"]
    assert [(row["x"], "epochs" in row, row["reference"]) for row in rows] == [
        (0.5, False, 36.0),
        (0.75, False, 75.0),
    ]


def test_the_study_says_what_it_is_scored_on(compare, tuner):
    compare("--seeds", "1")
    assert "test split, after the last epoch" in tuner("study", "show").out
    assert json.loads(tuner("study", "show", "--json").out)["scored_on"] is not None
    curve = json.loads(tuner("trial", "show", "1", "--json").out)["intervals"]
    assert [row["test_accuracy"] is None for row in curve] == [True, True, True, False]


def test_the_winner_of_a_search(compare, tuner):
    tuner("study", "create", "s", "--space", "./mine.yaml", "--sampler", "listed")
    settings = load_settings()
    store = open_store(settings.storage)
    study = load_study(store, "s")
    limits = Limits(slots_wanted(store, study, 2, None))
    optimize(settings, store, study, SearchOptions(limits, 1, tracking=False), entry=TOY)
    store.close()
    words = ["--seeds", "2", "--workers", "1", "--no-tracking", "--json"]
    told = json.loads(tuner("compare", "--study", "s", *words).out)
    assert told["study"] == "compare-s-trial1"
    assert (told["common"]["x"], told["common"]["epochs"]) == (0.75, 4)
    (row,) = told["rows"]
    assert row["test_accuracy_percent_mean"] == pytest.approx(
        statistics.mean(scores(0.75, 4, (0, 1)))
    )
    told = json.loads(tuner("compare", "--study", "s", "--trial", "0", *words).out)
    assert told["common"]["x"] == 0.5
    refused = tuner("compare", "--study", "compare-s-trial1", *words)
    assert (refused.code, "is a comparison itself" in refused.err) == (2, True)


def test_the_winner_by_a_metric_of_the_host(compare, tuner):
    create = ("study", "create", "s", "--space", "./mine.yaml", "--sampler", "listed")
    assert tuner(*create, "--metric", "val_f1").code == 0
    settings = load_settings()
    store = open_store(settings.storage)
    study = load_study(store, "s")
    assert study.spec.direction == "maximize"
    limits = Limits(slots_wanted(store, study, 2, None))
    optimize(settings, store, study, SearchOptions(limits, 1, tracking=False), entry=TOY)
    store.close()
    words = ["--seeds", "2", "--workers", "1", "--no-tracking", "--json"]
    printed = json.loads(tuner("compare", "--study", "s", *words).out)
    assert (printed["metric"], printed["common"]["x"]) == ("test_f1", 0.75)
    (row,) = printed["rows"]
    accuracy_percent = statistics.mean(scores(0.75, 4, (0, 1)))
    assert row["test_f1_percent_mean"] == pytest.approx(accuracy_percent - 10.0)


def test_three_failures_in_a_row_end_it(compare, tmp_path):
    text = FILE.replace("[learn, nan]", "[learn, raise]").replace("act: learn", "act: raise")
    (tmp_path / "mine.yaml").write_text(text)
    done = compare("--seeds", "3")
    assert done.code == 1
    assert "stopped: three trials in a row failed; the same command continues" in done.out
    assert "user error" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    {
        "neither": ([], "either a file, or --study NAME"),
        "both": (["./mine.yaml", "--study", "x"], "either a file, or --study NAME"),
        "trial of no study": (["./mine.yaml", "--trial", "3"], "--trial needs --study"),
        "values of a study": (
            ["--study", "x", "--scaling", "none"],
            "leave out --column, --weights, --scaling and --set",
        ),
        "no study": (["--study", "x"], "there is no study yet"),
        "no seeds": (["./mine.yaml", "--seeds", "0"], "--seeds must be between 1 and 1000, got 0"),
        "no workers": (["./mine.yaml", "--workers", "0"], "--workers must be between 1"),
        "bad name": (["./mine.yaml", "--name", "../x"], "is no name for a study"),
        "bad set": (["./mine.yaml", "--set", "epochs=0"], "epochs must be >= 1, got 0"),
        "unknown data": (["./mine.yaml", "--data", "nope"], "no data set or folder 'nope'"),
        "no file": (["./nope.yaml"], "nope.yaml: cannot be read"),
        "floats": (["./floats.yaml"], "floats.yaml: the space has no finite grid, since x has no"),
        "open": (["./open.yaml"], "open.yaml: baselines[1] leaves act open"),
        "twice": (["./twice.yaml"], "twice.yaml: baselines[1] is the same as baselines[0]"),
        "plateau": (["./mine.yaml", "--set", "schedule=plateau"], "schedule plateau watches the"),
    }.values(),
)
def test_a_mistake_is_one_line_and_makes_nothing(words, said, compare, tuner, tmp_path):
    (tmp_path / "floats.yaml").write_text(FILE.partition("baselines")[0])
    (tmp_path / "open.yaml").write_text(FILE.replace("epochs: 4, act: learn", "epochs: 4"))
    (tmp_path / "twice.yaml").write_text(FILE.replace("x: 0.75, epochs: 4", "x: 0.5, epochs: 2"))
    before = sorted(tmp_path.iterdir())
    done = tuner("compare", *words)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) == 1
    assert said in done.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_search_takes_the_data_of_the_file(compare, tuner):
    done = tuner("study", "create", "s", "--space", "./mine.yaml", "--sampler", "listed")
    assert (done.code, done.err) == (0, "")
    facts = json.loads(tuner("study", "show", "s", "--json").out)
    assert (facts["data"], facts["sampler"], facts["trials"]) == ("points.npz", "listed", 0)
    assert facts["scored_on"] is None
    assert "iris" in tuner("study", "create", "--space", "./mine.yaml", "--data", "iris").out
