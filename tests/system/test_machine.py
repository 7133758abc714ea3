"""What a search may use: in a container, with GPUs that TensorFlow can use and others."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.system import machine

GIB = 2**30


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    machine.gpus.cache_clear()
    yield
    machine.gpus.cache_clear()


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 cores, 256 GiB, no GPU."""
    monkeypatch.setattr(machine, "scheduled_cores", lambda: 64)
    monkeypatch.setattr(machine, "_DRIVER", Path("/nowhere"))
    memory = SimpleNamespace(total=256 * GIB, available=200 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """driver(n): a driver that shows n GPUs."""

    def show(count: int) -> None:
        for number in range(count):
            (tmp_path / "gpus" / f"0000:0{number}:00.0").mkdir(parents=True)
        monkeypatch.setattr(machine, "_DRIVER", tmp_path / "gpus")

    return show


def contained(
    monkeypatch: pytest.MonkeyPatch, folder: Path, own: str, files: dict[str, str]
) -> None:
    """Into a container, as its control groups tell."""
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    mount, own_file = folder / "mount", folder / "own"
    core, memory = machine.core_limit, machine.memory_limit
    monkeypatch.setattr(machine, "core_limit", lambda: core(mount, own_file))
    monkeypatch.setattr(machine, "memory_limit", lambda: memory(mount, own_file))


@pytest.mark.usefixtures("large")
def test_two_cores_and_four_gib_of_a_large_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"cpu.max": "200000 100000", "memory.max": str(4 * GIB), "memory.current": str(GIB)}
    contained(monkeypatch, tmp_path, "0::/\n", files)
    assert (machine.cores(), machine.default_workers()) == (2, 2)
    assert (machine.memory_bytes(), machine.free_bytes()) == (4 * GIB, 3 * GIB)
    assert machine.data_budget_bytes(2) == GIB
    assert machine.threads_a_worker(2) == 1


@pytest.mark.usefixtures("large")
def test_the_same_by_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "cpu/cpu.cfs_quota_us": "200000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(4 * GIB),
        "memory/memory.usage_in_bytes": str(GIB),
    }
    contained(monkeypatch, tmp_path, "4:memory:/docker/f00\n3:cpu:/docker/f00\n", files)
    assert (machine.cores(), machine.default_workers()) == (2, 2)
    assert machine.memory_bytes() == 4 * GIB


@pytest.mark.usefixtures("large")
def test_a_limit_of_memory_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contained(monkeypatch, tmp_path, "0::/\n", {"memory.max": str(4 * GIB)})
    assert (machine.cores(), machine.default_workers()) == (64, 4)


@given(
    st.integers(1, 256),
    st.none() | st.floats(0.01, 512),
    st.none() | st.integers(2**20, 2**40),
    st.integers(0, 8),
)
def test_never_more_than_the_limits_and_never_none(
    affinity: int, quota: float | None, limit: int | None, gpu_count: int
) -> None:
    total = 64 * GIB
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "scheduled_cores", lambda: affinity)
        patch.setattr(machine, "core_limit", lambda: quota)
        patch.setattr(machine, "memory_limit", lambda: None if limit is None else (limit, 0))
        patch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=total, available=1))
        cores, workers = machine.cores(), machine.default_workers(gpu_count)
        memory = machine.memory_bytes()
    assert 1 <= cores <= affinity
    assert quota is None or cores == 1 or cores <= quota
    assert workers == 1 or workers <= (gpu_count or cores)
    assert workers == 1 or workers * GIB <= memory <= total


def test_without_a_driver_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_DRIVER", Path("/nowhere"))
    monkeypatch.setattr(machine, "tensorflow_devices", None)
    assert machine.gpus() == ()


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("usable", "workers"), [((), 64), ((1,), 1), ((0, 1), 2)], ids=["none", "one", "all"]
)
def test_only_gpus_that_tensorflow_can_use_count(
    usable: tuple[int, ...],
    workers: int,
    driver: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver(2)
    monkeypatch.setattr(machine, "tensorflow_devices", lambda: {"usable": list(usable)})
    assert machine.driver_gpus() == 2
    assert machine.gpus() == usable
    assert machine.default_workers() == workers


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "import time; time.sleep(60)"])
def test_a_tensorflow_that_cannot_say_has_no_gpu(
    program: str, driver: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(2)
    asked = machine.tensorflow_devices
    monkeypatch.setattr(machine, "tensorflow_devices", lambda: asked(("-c", program), 0.5))
    began = time.monotonic()
    assert machine.gpus() == ()
    assert time.monotonic() - began < 10


@pytest.mark.tensorflow
def test_a_driver_whose_gpus_are_hidden_from_tensorflow(
    driver: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    driver(3)
    machine.tensorflow_devices.cache_clear()
    assert machine.gpus() == ()


def test_files_of_the_folder_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('this is mine')")
    monkeypatch.chdir(tmp_path)
    machine.tensorflow_devices.cache_clear()
    program = "import json; print(json.dumps({'usable': [0]}))"
    assert machine.tensorflow_devices(("-c", program)) == {"usable": [0]}
    assert sys.modules["json"].__file__ != str(tmp_path / "json.py")
