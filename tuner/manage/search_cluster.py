"""Where a search's workers run: on this machine, or on a Ray cluster that it opens for a while."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real

from tuner.errors import UsageError
from tuner.settings import Settings
from tuner.study.artifacts import open_artifacts
from tuner.values import shown
from tuner.workers import BackEnd, back_end
from tuner.workers.ray.cluster_address import check_address

_MOST_CPUS = 1024.0
_DEFAULT_CPUS = 1.0


@dataclass(frozen=True)
class ClusterWanted:
    """`on`: the cluster, as `tuner optimize --on` takes it; None for this machine. `trial_cpus`,
    `trial_gpus`: what a worker process takes of its node; None for one CPU and no GPU."""

    on: str | None = None
    trial_cpus: float | None = None
    trial_gpus: float | None = None

    def check(self, lanes: int, spell: Callable[[str], str]) -> None:
        """`lanes`: as for SearchOptions. `spell`: how the user wrote the names. Raises
        UsageError."""
        on = spell("on")
        if self.on is None:
            for name in ("trial_cpus", "trial_gpus"):
                if getattr(self, name) is not None:
                    raise UsageError(f"{spell(name)} is for workers on a cluster: give {on} too")
            return
        check_address(self.on, on)
        _check_amount(spell("trial_cpus"), self.trial_cpus, _MOST_CPUS, may_be_zero=False)
        # A trial trains on one GPU.
        _check_amount(spell("trial_gpus"), self.trial_gpus, 1.0, may_be_zero=True)
        if lanes > 1 and not self.trial_gpus:
            raise UsageError(
                f"{spell('lanes')} above 1 is for a GPU: give {spell('trial_gpus')} too, or leave "
                "it out"
            )

    @contextmanager
    def opened(
        self,
        settings: Settings,
        stage: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> Iterator[BackEnd]:
        """What makes the workers, while the context lasts. `stage` is told what happens, `tell`
        what the user should know. Raises UsageError and WorkerError."""
        if self.on is None:
            yield back_end()
            return
        from tuner.workers.ray.cluster_connection import open_cluster

        with open_cluster(
            self.on,
            trial_cpus=_DEFAULT_CPUS if self.trial_cpus is None else float(self.trial_cpus),
            trial_gpus=float(self.trial_gpus or 0.0),
            artifacts=open_artifacts(settings),
            stage=stage,
            tell=tell,
        ) as cluster:
            yield cluster


def _check_amount(option: str, amount: object, most: float, may_be_zero: bool) -> None:
    """Raises UsageError for an amount that no node can give. None is none."""
    if amount is None:
        return
    if isinstance(amount, bool) or not isinstance(amount, Real) or not math.isfinite(amount):
        raise UsageError(f"{option} must be a number, got {shown(amount)}")
    # Ray counts in ten-thousandths.
    least = 0.0 if may_be_zero and amount == 0 else 0.0001
    if not least <= float(amount) <= most:
        from_words = "from 0" if may_be_zero else "above 0 and"
        raise UsageError(
            f"{option} must be {from_words} up to {most:g}, such as 0.25, got {shown(amount)}"
        )
