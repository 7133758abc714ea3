"""Workers on a Ray cluster keep the contract that local ones keep."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing import forkserver
from typing import Any

import pytest
from conformance import REQUEST, Conformance, run_trial, toy_setup, wait_until_free
from ray_cluster import RayNodes
from toy_study import TOY_ALONE
from toy_training import BROKEN

from tuner.runner import KERAS
from tuner.search_space.parameters import defaults
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import Ended, Goal, Report, TrialRequest, WorkerSetup
from tuner.workers import BackEnd, EntryPoint, Workers, local
from tuner.workers.ray import node_data
from tuner.workers.ray.ray_workers import RayBackEnd


@pytest.fixture(scope="module")
def ray_driver(ray_cluster: RayNodes) -> Iterator[None]:
    """This process is connected to the cluster."""
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
