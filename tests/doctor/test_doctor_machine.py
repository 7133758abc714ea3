"""Room, memory, cores, libraries."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tuner.doctor import environment_checks
from tuner.system import machine
from tuner.system import machine as computer
from tuner.system.machine import core_limit, memory_limit


@pytest.mark.parametrize(
    ("free", "state"), [(2**40, "ok"), (2**31 - 1, "warn"), (200 * 2**20 - 1, "fail")]
)
def test_room_on_a_disk(
    free: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    folders = {"checkpoints": tmp_path / "still" / "to be made", "database": tmp_path}
    (told,) = environment_checks.check_disks(folders)
    assert told.state == state
    assert told.message.endswith(f"free at {tmp_path} for checkpoints, database")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 cores, 8 GiB of memory and no GPU, not in a container."""
    monkeypatch.setattr(machine, "memory_limit", lambda: None)
    monkeypatch.setattr(machine, "core_limit", lambda: None)
    monkeypatch.setattr(computer, "scheduled_cores", lambda: 4)
    monkeypatch.setattr(computer, "_DRIVER", Path("/nowhere"))
    computer.gpus.cache_clear()
    monkeypatch.setattr(
        "psutil.virtual_memory", lambda: SimpleNamespace(total=2**33, available=2**33)
    )


@pytest.mark.usefixtures("a_machine")
@pytest.mark.parametrize(("gib", "state"), [(4.0, "ok"), (3.9, "warn"), (0.5, "warn")])
def test_memory_for_the_workers(gib: float, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = SimpleNamespace(total=2**33, available=int(gib * 2**30))
    monkeypatch.setattr("psutil.virtual_memory", lambda: size)
    (told,) = environment_checks.check_memory()
    assert told.state == state
    assert ("--workers 3" in str(told.advice)) == (gib == 3.9)


@pytest.mark.usefixtures("a_machine")
def test_a_container_s_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_limit", lambda: (2**31, 2**30))
    (told,) = environment_checks.check_memory()
    assert told.state == "warn"
    assert told.message == "1.0 GiB free of 2.0 GiB, for 2 workers by default"


@pytest.mark.usefixtures("a_machine")
def test_a_container_s_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "core_limit", lambda: 1.5)
    (told,) = environment_checks.check_cores()
    assert (told.state, told.message) == ("ok", "1 core: 1 worker by default")


@pytest.mark.usefixtures("a_machine")
def test_gpus_that_tensorflow_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        (tmp_path / str(number)).mkdir()
    monkeypatch.setattr(computer, "_DRIVER", tmp_path)
    monkeypatch.setattr(machine, "tensorflow_devices", lambda: {"usable": []})
    (told,) = environment_checks.check_cores()
    assert told.message == "4 cores, 2 GPUs (0 usable): 4 workers by default"
    computer.gpus.cache_clear()
    monkeypatch.setattr(machine, "tensorflow_devices", None)  # must not be asked
    (told,) = environment_checks.check_cores(quick=True)
    assert "2 GPUs (not asked whether TensorFlow can use them): 2 workers" in told.message


@pytest.fixture
def groups(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """groups(own, **files): control groups as Linux shows them."""

    def make(own: str, files: dict[str, str]) -> dict[str, Path]:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "mount" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return {"mount": tmp_path / "mount", "own": tmp_path / "own"}

    return make


def test_control_groups_of_version_2(groups: Callable[..., dict[str, Path]]) -> None:
    files = {
        "job/cpu.max": "250000 100000",
        "job/step/cpu.max": "max 100000",
        "job/memory.max": "4096",
        "job/memory.current": "1000",
        "job/memory.stat": "anon 5\ninactive_file 300",
        "job/step/memory.max": "max",
    }
    where = groups("0::/job/step\n", files)
    assert core_limit(**where) == 2.5
    assert memory_limit(**where) == (4096, 700)


def test_control_groups_of_version_1(groups: Callable[..., dict[str, Path]]) -> None:
    files = {
        "cpu/cpu.cfs_quota_us": "50000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "8192",
        "memory/memory.usage_in_bytes": "8000",
        "memory/job/memory.limit_in_bytes": str(2**63 - 4096),
    }
    where = groups("4:memory:/job\n1:cpu,cpuacct:/of/the/host\n0::/\n", files)
    assert core_limit(**where) == 0.5
    assert memory_limit(**where) == (8192, 8000)


def test_version_1_with_one_folder_for_two_controllers(
    groups: Callable[..., dict[str, Path]],
) -> None:
    files = {
        "cpu,cpuacct/job/cpu.cfs_quota_us": "300000",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
    }
    assert core_limit(**groups("1:cpu,cpuacct:/job\n", files)) == 3


def test_no_control_groups(groups: Callable[..., dict[str, Path]], tmp_path: Path) -> None:
    where = groups("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1"})
    assert core_limit(**where) is memory_limit(**where) is None
    assert core_limit(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        ({}, None),
        ({"tensorflow": None, "tensorflow-cpu": "2.21.0"}, None),
        ({"tensorflow-cpu": "2.21.0"}, "are both installed"),
        ({"mlflow": "2.9.1"}, "mlflow is 2.9.1, tuner needs"),
        ({"keras": "4.0.0"}, "keras is 4.0.0, tuner needs"),
        ({"optuna": None}, "optuna is not installed"),
    ],
)
def test_libraries(
    installed: dict[str, str | None], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = environment_checks._version
    monkeypatch.setattr(
        environment_checks, "_version", lambda n: installed[n] if n in installed else real(n)
    )
    (finding,) = environment_checks.check_libraries()
    assert finding.state == ("fail" if told else "ok")
    assert (told or "optuna ") in finding.message
    assert bool(finding.advice) == bool(told)
