"""Workers on a Ray cluster keep the contract that local ones keep."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from conformance import REQUEST, Conformance, run_trial, toy_setup, wait_until_free
from ray_cluster import RayNodes
from toy_study import TOY_ALONE
from toy_training import BROKEN

from tuner.errors import UsageError, WorkerError
from tuner.runner import KERAS
from tuner.search_space.parameters import defaults
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import Ended, Goal, Report, TrialRequest, WorkerSetup
from tuner.workers import BackEnd, EntryPoint, Workers, local
from tuner.workers.ray import node_data
from tuner.workers.ray.cluster_connection import open_cluster
from tuner.workers.ray.ray_workers import RayBackEnd


@pytest.fixture(scope="module")
def ray_driver(ray_cluster: RayNodes) -> Iterator[None]:
    """This process is connected to the cluster, which another file may have left without a head."""
    ray_cluster.restore()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ray_cluster.joining.items():
            patch.setenv(name, value)
        import ray  # it reads them as it is imported

        ray.init(ray_cluster.address, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerSetup]:
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield toy_setup(tmp_path_factory.mktemp("ray"))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def ray_artifacts(tmp_path_factory: pytest.TempPathFactory) -> FolderArtifacts:
    return FolderArtifacts(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="class")
def one_worker(
    ray_driver: None, setup: WorkerSetup, ray_artifacts: FolderArtifacts
) -> Iterator[Workers]:
    """An actor for all tests that need one: each costs 2 CPU seconds."""
    workers = open_on_ray(replace(setup, artifacts=ray_artifacts), 1)
    workers.start()
    yield workers
    workers.close()


def open_on_ray(
    setup: WorkerSetup, processes: int | None, entry: EntryPoint = TOY_ALONE, **options: Any
) -> Workers:
    back_end: BackEnd = RayBackEnd(1, 0)
    return back_end.open_workers(entry, setup, processes=processes, **options)


@pytest.mark.usefixtures("ray_driver", "ray_nodes")
class TestRayWorkers(Conformance):
    def open_workers(self, processes: int, setup: WorkerSetup) -> Workers:
        return open_on_ray(setup, processes)

    def open_broken(self, setup: WorkerSetup) -> Workers:
        return open_on_ray(setup, 2, EntryPoint(BROKEN.name, TOY_ALONE.preload))

    @pytest.fixture
    def artifacts(self, ray_artifacts: FolderArtifacts) -> FolderArtifacts:
        return ray_artifacts

    @pytest.fixture
    def workers(self, one_worker: Workers) -> Iterator[Workers]:
        yield one_worker
        one_worker.restart(0)


def test_data_lie_on_each_node_once_while_a_search_lasts(
    ray_driver: None,
    ray_nodes: RayNodes,
    setup: WorkerSetup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert setup.data is not None
    monkeypatch.setattr(node_data, "PIECE_BYTES", 300)  # so that a file has several
    sent = {file.name: file.read_bytes() for file in setup.data.iterdir()}
    assert max(map(len, sent.values())) > 300
    with closing(open_on_ray(setup, 3)) as workers:
        workers.start()
        wait_until_free(workers)
        folders = list(ray_nodes.temporary.glob("tuner-ray-*/data"))
        places = [workers.place(worker) for worker in range(3)]
        assert len(folders) == len({place.node for place in places if place}) == 3
        for folder in folders:
            assert {file.name: file.read_bytes() for file in folder.iterdir()} == sent
    assert not list(ray_nodes.temporary.glob("tuner-ray-*"))


def test_a_connection_of_the_callers_own_stays_open(
    ray_driver: None, ray_nodes: RayNodes, setup: WorkerSetup, ray_artifacts: FolderArtifacts
) -> None:
    """As in a notebook that has called ray.init() itself: searches train there, and leave it."""
    import ray

    for _ in range(2):
        with open_cluster("ray", artifacts=ray_artifacts) as back_end:
            assert back_end.room([{"CPU": 1.0}] * 3) == 3
        assert ray.is_initialized()
    assert ray_artifacts.names("ray-check*") == []
    with (
        pytest.raises(UsageError, match="this process has connected Ray itself"),
        open_cluster(ray_nodes.address),
    ):
        pass


def test_as_many_workers_as_there_is_room_for(
    ray_driver: None, ray_nodes: RayNodes, setup: WorkerSetup
) -> None:
    needed = [1]
    with closing(open_on_ray(setup, None, share=lambda: needed[0])) as workers:
        assert workers.count == 3
        workers.start()
        wait_until_free(workers, 0)
        assert not workers.takes(1)
        needed[0] = 2
        wait_until_free(workers, 0, 1)
        assert isinstance(run_trial(workers, REQUEST, worker=1)[-1], Ended)


@pytest.mark.skipif("not config.getoption('--soak')", reason="it is done in a soak only")
def test_a_node_that_cannot_keep_files_is_left_out(
    ray_driver: None, ray_nodes: RayNodes, setup: WorkerSetup, tmp_path: Path
) -> None:
    """Another one takes its worker's place; without any, the search ends."""
    (tmp_path / f"tuner-logs-{os.getuid()}").touch()  # where a folder should be
    added = [ray_nodes.add(2, environment={"TMPDIR": str(tmp_path)})]
    told: list[str] = []
    two_cpus = RayBackEnd(2, 0)
    try:
        with closing(two_cpus.open_workers(TOY_ALONE, setup, processes=1)) as workers:
            workers.start()
            with pytest.raises(WorkerError, match=r"no node can train: .*it cannot keep files"):
                wait_until_free(workers)
        added.append(ray_nodes.add(2))
        with closing(
            two_cpus.open_workers(TOY_ALONE, setup, processes=2, tell=told.append)
        ) as workers:
            workers.start()
            while not (workers.count == 3 and sum(map(workers.takes, range(2))) == 1):
                workers.wait(0.1)
    finally:
        ray_nodes.kill(*added)
    assert sum("is left out: it cannot keep files" in line for line in told) == 1


@pytest.mark.tensorflow
def test_scores_are_those_of_local_workers(
    ray_driver: None, ray_nodes: RayNodes, setup: WorkerSetup
) -> None:
    """Bit by bit, although Ray limits the threads of what it starts."""
    params = defaults("mlp") | {"depth": 2, "width": 64, "epochs": 3, "batch_size": 8}
    request = TrialRequest("mlp", params, 5, Goal("val_accuracy", "maximize"))
    reports = []
    for workers in (open_on_ray(setup, 1, KERAS), local.open_workers(KERAS, setup, processes=1)):
        with closing(workers):
            workers.start()
            while not workers.takes(0):  # TensorFlow is imported
                workers.wait(1.0)
            messages = run_trial(workers, request)
        reports.append([each.metrics for each in messages if isinstance(each, Report)])
    on_ray, here = reports
    assert len(here) == 3
    assert on_ray == here
