"""The dashboard and the alerts of deploy/grafana ask for metrics that are there, and for all of
them."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from daemon_bench import ServiceBench
from prometheus_client.parser import text_string_to_metric_families

from tuner.service.prometheus_metrics import DaemonMetrics, PageMetrics
from tuner.storage import open_store
from tuner.study.ends import TrialEnd

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
SCRAPES = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
# What nobody looks at on a dashboard.
LEFT_OUT = {
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
}
# Of a panel's expression: what is no metric.
_WORDS = {"sum", "max", "min", "by", "rate", "increase", "delta", "and", "on"}
Labels = dict[str, set[str]]


@pytest.fixture(scope="module")
def exposed(own_fork_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labels]:
    """The metrics of a worker and of the page, each with the names of its labels."""
    folder = tmp_path_factory.mktemp("monitored")
    store = open_store(f"sqlite:///{folder}/tuner.db")
    bench = ServiceBench(folder, store)
    study = bench.add("s", 1)
    daemon, page = DaemonMetrics(store, tracking=True, processes=1), PageMetrics(lambda: store)
    with bench.daemon(processes=1, metrics=daemon):
        bench.wait_until_done(study)
    page.answered(200)
    found: Labels = {}
    for text, _ in (daemon.page(), page.page()):
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    yield found
    store.close()


def expressions() -> list[str]:
    """Of all panels and alerts."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return asked + [rule["expr"] for rule in rules()]


def rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\((\w+, )*\w+\) (?=\()', " ", expression)
    bare = re.sub(r"\b(by|on) \([^)]*\)", " ", bare)
    return set(re.findall(r"\b[a-z_]{2,}\b", bare)) - _WORDS


def test_every_metric_that_is_asked_for_exists(exposed: Labels) -> None:
    for expression in expressions():
        names = metrics_of(expression)
        assert names, expression
        assert names <= exposed.keys(), expression


def test_every_metric_is_asked_for_or_left_out(exposed: Labels) -> None:
    used = set().union(*map(metrics_of, expressions()))
    assert exposed.keys() - used == LEFT_OUT


def test_labels_exist(exposed: Labels) -> None:
    """Prometheus itself adds `job` and `instance`."""
    checked = 0
    for expression in expressions():
        labels = {"job", "instance"}.union(*(exposed[name] for name in metrics_of(expression)))
        grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
        asked = {each.strip() for part in grouped for each in part.split(",")}
        asked |= set(re.findall(r'(\w+)=~?"', expression))
        assert asked <= labels, expression
        checked += len(asked)
    assert checked > 10
    ends = re.findall(r'end=~"([^"]*)"', " ".join(expressions()))
    assert ends
    assert set("|".join(ends).split("|")) <= {end.value for end in TrialEnd}


def test_legends_name_labels_that_the_expression_keeps() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert f"({label})" in target["expr"] or label == "instance", panel["title"]


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"]
    assert DASHBOARD["title"]
    panels = DASHBOARD["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids)) > 10
    [source] = DASHBOARD["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    for panel in panels:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)) > 0
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": f"${{{source['name']}}}"}


def test_panels_lie_beside_each_other_and_leave_no_gap() -> None:
    cells: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        for cell in itertools.product(columns, range(place["y"], place["y"] + place["h"])):
            assert cell not in cells, f"{panel['title']} lies on {cells.get(cell)}"
            cells[cell] = panel["title"]
    assert len(cells) == 24 * (1 + max(y for _, y in cells))


def test_alerts_say_what_to_do_once() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 3
    for rule in rules():
        assert rule["annotations"]["summary"].endswith((".", "?"))
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert f"({label})" in rule["expr"], rule["alert"]


def test_prometheus_reads_the_ports_that_are_served() -> None:
    jobs = {job["job_name"]: job for job in SCRAPES["scrape_configs"]}
    assert SCRAPES["rule_files"] == ["alerts.yaml"]
    workers, page = (
        jobs[name]["static_configs"][0]["targets"] for name in ("tuner-workers", "tuner-page")
    )
    unit = (FOLDER.parent / "systemd" / "tuner-worker.service").read_text()
    assert f"--health-port {workers[0].rpartition(':')[2]}" in unit
    assert page == ["127.0.0.1:8080"]
    assert jobs["tuner-page"]["authorization"]["credentials_file"]
