"""What MLflow cannot hold is shortened by us, and told to be the same by the check."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tracking_helpers import Search

from tuner.storage.studies import create_study
from tuner.tracking import content
from tuner.tracking.client import Client
from tuner.tracking.runs import send_to_run
from tuner.tracking.sync import check_study, sync_study

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(), max_size=20).map(lambda text: text * 600),
    st.sampled_from(["", "a/", "/a", "..", ".", "a//b", "x" * 7000, "x" * 9000, "ü" * 300, "\0"]),
)


@pytest.fixture(scope="module")
def run_id(client: Client) -> str:
    experiment_id = client.create_experiment("held")
    return str(client.create_run(experiment_id).info.run_id)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=st.lists(TEXTS, min_size=1, max_size=4, unique=True), value=TEXTS)
def test_mlflow_gives_back_what_it_was_sent(client: Client, names: list[str], value: str) -> None:
    run_id = client.create_run("0").info.run_id
    keys = [content.allowed_key(name) for name in names]
    assert len(set(keys)) == len(names)
    assert [content.allowed_key(key) for key in keys] == keys
    params = dict.fromkeys(keys, content.param_value(value))
    tags = dict.fromkeys(keys, content.tag_value(value))
    send_to_run(client, run_id, [content.Point(key, 1.0, 1, 1) for key in keys], params, tags)
    run = client.get_run(run_id)
    assert run.data.params == params
    assert {key: run.data.tags[key] for key in keys} == tags
    assert set(run.data.metrics) == set(keys)


@given(TEXTS, st.sampled_from(["", " (1a2b3c4d)"]))
def test_names_of_experiments_are_short_enough(name: str, suffix: str) -> None:
    shown = content.experiment_name(name, suffix)
    assert len(shown) <= 500
    assert shown.endswith(suffix)


def test_a_long_value_does_not_differ_for_ever(
    search: Search, tracking_uri: str, client: Client
) -> None:
    spec = search.study.spec
    source = "x" * 7000
    data = spec.data.model_copy(update={"source": source})
    study = create_study(search.store, "long", spec.model_copy(update={"data": data}))
    mine = Search(search.store, study)
    mine.complete(mine.start(), 0.5)
    synced = sync_study(search.store, tracking_uri, study)
    assert (synced.missing, synced.problem) == (0, None)
    assert check_study(search.store, tracking_uri, study).differences == []


def test_a_large_request_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Fake:
        def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
            sizes.append(len(params) + len(tags))

    send_to_run(Fake(), "run", [], {f"p{i}": "ü" * 6000 for i in range(100)})
    assert sum(sizes) == 100
    assert max(sizes) < 20
