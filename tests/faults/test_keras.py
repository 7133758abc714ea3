"""Real networks that lose their worker or their loop: the curve is as if nothing had happened."""

import signal
from pathlib import Path

import pytest
from toy_study import Bench, digits_bench
from waiting import wait_until

from faults import victims
from faults.victims import finish
from tuner.runner import KERAS
from tuner.search_space import load_space

pytestmark = [pytest.mark.usefixtures("own_fork_server"), pytest.mark.tensorflow, pytest.mark.slow]
FIXED = {
    "depth": 2,
    "width": 32,
    "activation": "relu",
    "dropout": 0.2,
    "input_dropout": 0.1,
    "label_smoothing": 0.05,
    "augment_flip": True,
    "schedule": "cosine",
    "batch_norm": True,
    "optimizer": "adam",
    "learning_rate": 0.001,
    "batch_size": 8,
    "epochs": 48,
    "patience": 48,
}


def digits(folder: Path) -> Bench:
    """A study of one configuration on digits."""
    folder.mkdir()
    space = load_space("mlp").override(FIXED)
    return digits_bench(folder, space.model_copy(update={"baselines": ()}))


def curve(bench: Bench) -> list[tuple[int, dict[str, float]]]:
    (trial,) = bench.trials
    assert trial.last is not None
    rows = bench.curve(trial)
    return [(row.step, row.metrics) for row in rows]


def epochs_done(bench: Bench) -> int:
    return max((len(curve(bench)) for _ in bench.trials if bench.trials[0].attempts), default=0)


def test_killed_twice(tmp_path: Path) -> None:
    """A trial loses its worker, then its loop: the third attempt ends with the same numbers, and
    the same network, as one that nobody disturbed."""
    calm, rough = digits(tmp_path / "calm"), digits(tmp_path / "rough")
    often = {"checkpoint_every_s": 0.0}
    loop = rough.start(1, asked=often, entry=KERAS.name)
    wait_until(lambda: epochs_done(rough) >= 8 or loop.poll() is not None, 90)
    assert loop.poll() is None, finish(loop)
    victims.workers(loop)[0].send_signal(signal.SIGKILL)
    wait_until(lambda: len(rough.trials[0].attempts) == 2 and epochs_done(rough) >= 20, 60)
    loop.kill()
    loop.communicate()
    assert rough.run(1, entry=KERAS, asked=often).status.done_here == 1
    assert calm.run(1, entry=KERAS).status.done_here == 1

    (trial,), (twin,) = rough.trials, calm.trials
    assert [a.end for a in trial.attempts] == ["worker_lost", "lost", "complete"]
    assert all((a.resumed_epoch or 0) > 0 for a in trial.attempts[1:])
    assert curve(rough) == curve(calm)
    assert trial.value == twin.value
    networks = [
        weights(bench.settings.checkpoints / t.last.model_path)
        for bench, t in ((rough, trial), (calm, twin))
        if t.last is not None and t.last.model_path is not None
    ]
    assert len(networks) == 2
    assert networks[0] == networks[1]
    assert not list((tmp_path / "rough").rglob("*.ckpt"))


def weights(path: Path) -> list[bytes]:
    import keras

    assert path is not None
    return [w.tobytes() for w in keras.saving.load_model(path).get_weights()]
