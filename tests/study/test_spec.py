"""A study's definition: its parts fit together and survive JSON."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import SpecError
from tuner.search_space import Space, load_space, make_space
from tuner.search_space.loading import COLUMN_KINDS
from tuner.study.data_spec import FIRST_READING, READING, DataSpec, TargetSpec
from tuner.study.metrics import direction_of
from tuner.study.spec import Choice, CodeFile, ColumnKind, OwnMetricSpec, StudySpec
from tuner.study.study_differences import corrected_study, study_differences


def spec(**changes: Any) -> StudySpec:
    return StudySpec(
        **{
            "space": load_space("mlp"),
            "data": DataSpec(source="digits", task="classes"),
            "fingerprint": "0" * 64,
            "train_rows": 50_000,
            "task": "classes",
            "sampler": Choice(name="tpe", options={"n_startup_trials": 5, "group": False}),
            "pruner": Choice(name="hyperband"),
            "metric": "val_accuracy",
            "direction": "maximize",
            "seed": 7,
            "code": {"net.py": CodeFile.of(b"x = 'caf\xc3\xa9'\n")},
            **changes,
        }
    )


def test_json_round_trip() -> None:
    one = spec()
    assert StudySpec.from_json(one.model_dump_json()) == one
    assert StudySpec.from_json(one.model_dump_json()).data.validation == 1 / 6


@pytest.mark.parametrize(
    ("rows", "intervals"), [(1, 1), (9_999, 1), (29_999, 2), (50_000, 5), (10**6, 5)]
)
def test_the_first_epoch_has_a_report_for_each_ten_thousand_rows(rows: int, intervals: int) -> None:
    one = spec(train_rows=rows)
    assert (one.first_epoch_reports, one.epochs, one.max_step) == (intervals, 27, 27 * intervals)
    # Each reads the whole validation split, and nothing could come of it.
    assert spec(train_rows=rows, pruner=Choice(name="none")).first_epoch_reports == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "val_mae", "direction": "minimize"}, "unknown metric 'val_mae' for classes"),
        ({"metric": "val_acuracy"}, "there are: val_accuracy, "),
        ({"direction": "minimize"}, "better when it is larger: the direction must be maximize"),
        ({"metric": "val_loss"}, "better when it is smaller: the direction must be minimize"),
        ({"task": "regression"}, "the data's task is classes, the study's is regression"),
        ({"seed": -1}, "the seed must be a whole number from 0 to 4294967295, got -1"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(**changes)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"space": 3}', '{"space": {"network": "mlp", "parameters": {"x": 1}}}'],
)
def test_foreign_json_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SpecError, match=r"^not a study of this version of tuner: [^\n]+$"):
        StudySpec.from_json(text)


def test_stored_studies_that_record_nothing_read_as_before() -> None:
    stored = json.loads(spec().model_dump_json())
    del stored["record"], stored["own_metrics"]
    assert StudySpec.from_json(json.dumps(stored)) == spec()
    assert spec().host_metrics() == ()


COST = {"cost": OwnMetricSpec(path="c.py", function="cost", direction="minimize")}


def test_own_metrics_are_objectives_with_their_direction() -> None:
    one = spec(metric="val_cost", direction="minimize", own_metrics=COST, record=("val_auc",))
    assert StudySpec.from_json(one.model_dump_json()) == one
    assert (one.host_metrics(), one.host_metrics(recorded=False)) == (("cost", "auc"), ("cost",))
    with pytest.raises(
        SpecError, match="better when it is smaller: the direction must be minimize"
    ):
        spec(metric="val_cost", own_metrics=COST)
    with pytest.raises(SpecError, match="auc is a metric of tuner"):
        spec(own_metrics={"auc": COST["cost"]})
    with pytest.raises(SpecError, match="unknown metric 'val_r2' for classes"):
        spec(record=("val_r2",))


def test_own_metrics_and_what_is_recorded_make_another_study() -> None:
    one = spec(record=("val_cost", "val_f1"), own_metrics=COST)
    assert study_differences(spec(record=("val_f1", "val_cost"), own_metrics=COST), one) == []
    assert study_differences(spec(), one) == [
        "recorded metrics was none, is val_cost, val_f1",
        "own metrics was none, is c.py:cost",
    ]
    assert corrected_study(spec(), one) is None
    files = {name: CodeFile.of(b"x = 1\n") for name in ("c.py", "net.py")}
    edited = one.model_copy(update={"code": files | {"c.py": CodeFile.of(b"x = 2\n")}})
    before = one.model_copy(update={"code": files})
    assert study_differences(before, edited) == ["c.py has changed"]
    assert corrected_study(before, edited) == edited


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_shares_lie_between_none_and_all(split: str, share: float) -> None:
    with pytest.raises(SpecError, match=f"the {split} share must lie between 0 and 1"):
        DataSpec.model_validate({split: share})


def test_unknown_metric_has_no_direction() -> None:
    with pytest.raises(SpecError, match="unknown metric 'val_profit'; there are: val_"):
        direction_of("val_profit")


def test_code_is_hashed_as_bytes() -> None:
    code = CodeFile.of(b"")
    assert code.sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with pytest.raises(SpecError, match=r"not UTF-8 text \(byte 0\)"):
        CodeFile.of(b"\xff")


FLOATS = {"type": "float", "low": 1e-4, "high": 0.1, "log": True}
PLAIN: dict[str, Any] = {
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
    "depth": {"type": "int", "low": 1, "high": 3},
    "learning_rate": FLOATS,
}
# What a parameter may be; None: the file does not name it.
SAID: dict[str, list[Any]] = {
    "learning_rate": [None, 0.01, FLOATS, FLOATS | {"high": 1.0}, FLOATS | {"log": False}],
    "width": [
        None,
        64,
        {"type": "int", "low": 8, "high": 64},
        {"type": "int", "low": 8, "high": 64, "step": 8},
        {"type": "int", "low": 8, "high": 64, "repeat": "depth"},
        {"type": "int", "low": 8, "high": 64, "when": {"optimizer": "sgd"}},
        {"type": "int", "low": 8, "high": 64, "when": {"optimizer": "adam", "depth": [2, 3]}},
    ],
    "activation": [
        None,
        {"type": "categorical", "choices": ["relu", "tanh"]},
        {"type": "categorical", "choices": ["tanh", "relu"]},
    ],
}
BASELINES: list[list[dict[str, Any]]] = [
    [],
    [{"depth": 1}],
    [{"depth": 2}],
    [{"depth": 1}, {"depth": 2}],
    [{"depth": 2}, {"depth": 1}],
    [{"depth": 1}, {"depth": 1}],
]
# Parts of a definition that can be changed one without another, and what each may be.
PARTS: dict[str, list[Any]] = {
    **SAID,
    "baselines": BASELINES,
    "source": ["digits", "x.csv:y"],
    "validation": [1 / 6, 0.2, 0.1666666666],
    "test": [0.15, 0.2],
    "scaling": ["auto", "minmax"],
    "columns": [{}, {"zip": "category"}, {"zip": "number"}],
    "split_seed": [0, 1],
    "seed": [5, 6],
    "fingerprint": ["0" * 64, "1" * 64],
    "train_rows": [50_000, 50_001],
    "sampler": [
        Choice(name="tpe"),
        Choice(name="random"),
        Choice(name="tpe", options={"group": True}),
        Choice(name="tpe", options={"group": False}),
    ],
    "pruner": [Choice(name="none"), Choice(name="median"), Choice(name="hyperband")],
    "metric": [("val_accuracy", "maximize"), ("val_loss", "minimize")],
    "code": [CodeFile.of(b""), CodeFile.of(b"x = 1")],
}
parts = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in PARTS.items()})


def assembled(chosen: dict[str, Any]) -> StudySpec:
    said = PLAIN | {name: chosen[name] for name in SAID}
    parameters = {name: value for name, value in said.items() if value is not None}
    metric, direction = chosen["metric"]
    return spec(
        space=make_space("mlp", parameters, chosen["baselines"]),
        data=DataSpec(
            task="classes",
            seed=chosen["split_seed"],
            **{n: chosen[n] for n in ("source", "validation", "test", "scaling", "columns")},
        ),
        metric=metric,
        direction=direction,
        code={"data.py": chosen["code"]},
        **{
            name: chosen[name]
            for name in ("seed", "fingerprint", "train_rows", "sampler", "pruner")
        },
    )


@settings(deadline=None)
@given(parts)
def test_a_definition_does_not_differ_from_itself(chosen: dict[str, Any]) -> None:
    one = assembled(chosen)
    assert study_differences(one, one) == []
    assert study_differences(StudySpec.from_json(one.model_dump_json()), one) == []
    assert study_differences(one, StudySpec.from_json(one.model_dump_json())) == []


@settings(deadline=None)
@given(parts, st.data())
def test_each_change_is_one_difference(chosen: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PARTS)))
    other = data.draw(st.sampled_from([value for value in PARTS[name] if value != chosen[name]]))
    one, changed = assembled(chosen), assembled({**chosen, name: other})
    told = study_differences(one, changed)
    # The same data may lie elsewhere: the fingerprint decides.
    expected = 0 if name == "source" else 1
    assert len(told) == len(study_differences(changed, one)) == expected, told
    assert not any("\n" in each for each in told)


def test_differences_are_in_the_words_of_files_and_flags() -> None:
    net = make_space("net.py:build", {"units": 3})
    data = DataSpec(source="x.csv:y", task="classes", seed=8)
    sampler = Choice(name="tpe", options={"n_startup_trials": 5, "group": True})
    changed = spec(space=net, data=data, seed=8, fingerprint="1" * 64, sampler=sampler)
    told = study_differences(spec(space=make_space("mlp", {"depth": 3})), changed)
    assert told == [
        "network was mlp, is net.py:build",
        "depth was 3, is not in the space",
        "units was not in the space, is 3",
        "data was digits, is x.csv:y",
        "sampler was tpe group=false n_startup_trials=5, is tpe group=true n_startup_trials=5",
        "seed was 7, is 8",
        "seed of the split was 0, is 8",
    ]


@pytest.mark.parametrize(
    ("name", "was", "now", "told"),
    [
        (
            "learning_rate",
            FLOATS,
            FLOATS | {"high": 1},
            "float 0.0001–0.1 log, is float 0.0001–1 log",
        ),
        ("depth", None, 3, "2 by default, is 3"),
        (
            "width",
            {"type": "int", "low": 8, "high": 64, "step": 8, "repeat": "depth"},
            {"type": "int", "low": 8, "high": 64, "when": {"depth": [1, 2]}},
            "int 8–64 step 8 one a layer (depth), is int 8–64 when depth is 1 or 2",
        ),
        ("activation", {"type": "categorical", "choices": ["relu", "elu"]}, "elu", "[relu, elu]"),
        (
            "batch_norm",
            {"type": "categorical", "choices": [True, False]},
            True,
            "[true, false], is true",
        ),
    ],
)
def test_a_changed_parameter_is_told_as_the_file_says_it(
    name: str, was: Any, now: Any, told: str
) -> None:
    def space(said: Any) -> Space:
        return make_space("mlp", PLAIN | {name: said} if said is not None else {})

    before, after = space(was), space(now)
    found = study_differences(spec(space=before), spec(space=after))
    assert any(one.startswith(f"{name} was {told}") for one in found), found


def test_equal_numbers_of_another_kind_are_a_change() -> None:
    choices = [[1, 2], [1.0, 2.0], [True, 2]]
    spaces = [make_space("net.py:f", {"x": {"type": "categorical", "choices": c}}) for c in choices]
    specs = [spec(space=one) for one in spaces]
    assert [len(study_differences(two, one)) for one in specs for two in specs] == [
        0,
        1,
        1,
        1,
        0,
        1,
        1,
        1,
        0,
    ]


def test_the_order_of_the_file_is_no_change() -> None:
    turned = dict(reversed(PLAIN.items()))
    assert (
        study_differences(
            spec(space=make_space("mlp", turned)), spec(space=make_space("mlp", PLAIN))
        )
        == []
    )


def test_a_long_change_is_cut_short() -> None:
    def long(last: str) -> StudySpec:
        said = {"type": "categorical", "choices": [f"choice-{i}" for i in range(30)] + [last]}
        return spec(space=make_space("net.py:f", {"x": said}))

    assert study_differences(long("b"), long("a")) == ["x has changed"]


def test_a_study_stored_without_a_reading_was_read_the_first_way() -> None:
    stored = json.loads(spec().model_dump_json())
    assert StudySpec.from_json(json.dumps(stored)).data.reading == READING
    del stored["data"]["reading"]
    assert StudySpec.from_json(json.dumps(stored)).data.reading == FIRST_READING


def test_a_column_of_another_kind_is_named() -> None:
    one = spec(data=DataSpec(source="x.csv:y", task="classes", columns={"a": "drop", "b": "text"}))
    was = spec(data=DataSpec(source="x.csv:y", task="classes", columns={"b": "number"}))
    assert study_differences(was, one) == [
        "column 'b' was number, is text",
        "column 'a' was by its cells, is drop",
    ]
    assert StudySpec.from_json(one.model_dump_json()).data.columns == {"a": "drop", "b": "text"}


def test_data_that_a_later_version_reads_otherwise_differ() -> None:
    was = spec(data=DataSpec(source="x.csv:y", task="classes", reading=FIRST_READING))
    now = spec(data=DataSpec(source="x.csv:y", task="classes"))
    assert study_differences(was, now) == []
    now = now.model_copy(update={"fingerprint": "1" * 64})
    assert study_differences(was, now) == ["the data are read otherwise by this version of tuner"]


def test_images_differ_by_their_pixels_not_by_how_they_were_asked_for() -> None:
    was = spec(data=DataSpec(source="photos", task="classes", broken="skip", skipped=("a.png",)))
    now = spec(data=DataSpec(source="photos", task="classes", image_size=(8, 6), grayscale=True))
    assert study_differences(was, now) == []
    now = now.model_copy(update={"fingerprint": "1" * 64})
    assert study_differences(was, now) == [
        "image size was that of the files, is 8x6",
        "grayscale was no, is yes",
        "broken images was skip, is refuse",
    ]


REQUESTS: dict[str, Any] = {
    "source": "x.csv:y",
    "validation": 0.25,
    "test": 0.25,
    "scaling": "none",
    "seed": 8,
    "columns": {"a": "drop"},
    "weights": "w",
    "inputs": {"left": ("a", "b"), "right": ("c",)},
    "targets": {"price": TargetSpec(weight=2), "sold": TargetSpec(task="binary")},
    "kind": "tokens",
    "text": "tf_idf",
    "vocabulary": 100,
    "steps": 10,
    "window": 24,
    "horizon": 3,
    "time": "hour",
    "series": "shop",
    "image_size": (8, 6),
    "grayscale": True,
    "broken": "skip",
    "images": "file",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_whatever_is_asked_of_the_data_makes_another_study(name: str) -> None:
    """Else a search of other data would go on as the old one."""
    windowed = {"window": 12} if name in ("window", "horizon", "time", "series") else {}
    said: dict[str, Any] = {"source": "digits", "task": "classes", **windowed}
    was = spec(data=DataSpec(**said))
    now = spec(data=DataSpec(**said | {name: REQUESTS[name]}), fingerprint="1" * 64)
    told = study_differences(was, now)
    assert len(told) == len(study_differences(now, was)) == 1, told


def test_no_request_is_left_out() -> None:
    assert DataSpec.model_fields.keys() - REQUESTS == {"task", "reading", "skipped"}


def test_several_parts_are_told_by_their_names() -> None:
    said = {"source": "digits", "task": "classes"}
    parts = {name: REQUESTS[name] for name in ("inputs", "targets")}
    now = spec(data=DataSpec(**said, **parts), fingerprint="1" * 64)
    assert study_differences(spec(data=DataSpec(**said)), now) == [
        "inputs was one of all columns, is left: a, b; right: c",
        "targets was by the data, is price (weight 2), sold (binary)",
    ]


def test_the_kinds_of_columns_are_listed_once_more() -> None:
    assert get_args(ColumnKind) == COLUMN_KINDS
