"""Workers on a Ray cluster keep the contract that local ones keep."""

from collections.abc import Iterator

import pytest
from conformance import Conformance, toy_setup
from ray_cluster import RayNodes
from toy_study import TOY_ALONE
from toy_training import BROKEN

from tuner.study.messages import WorkerSetup
from tuner.workers import BackEnd, EntryPoint, Workers
from tuner.workers.ray_workers import RayBackEnd


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
def setup(tmp_path_factory: pytest.TempPathFactory) -> WorkerSetup:
    return toy_setup(tmp_path_factory.mktemp("ray"))


@pytest.mark.usefixtures("ray_driver", "ray_nodes")
class TestRayWorkers(Conformance):
    def open_workers(self, processes: int, setup: WorkerSetup) -> Workers:
        back_end: BackEnd = RayBackEnd(1, 0)
        return back_end.open_workers(TOY_ALONE, setup, processes=processes)

    def open_broken(self, setup: WorkerSetup) -> Workers:
        entry = EntryPoint(BROKEN.name, TOY_ALONE.preload)
        return RayBackEnd(1, 0).open_workers(entry, setup, processes=2)
