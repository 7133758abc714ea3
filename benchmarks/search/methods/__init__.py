"""Search methods by name: FAMILY or FAMILY:FORM, such as `random` or `tuner:tpe+hyperband`.

To add one: a module with `build(form, setting)` that returns a `Method`, and a line in FAMILIES.
`form` is what stands behind the colon, "" without one.
"""

import hashlib
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.search.contract import Method, Setting

REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Family:
    """`module`: it has `build`. `code`: further files and folders of the repository (a method may
    learn from tables), and `packages`: installed ones, upon whose change the method's results are
    computed anew."""

    module: str
    code: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


_HERE = "benchmarks.search.methods"
_RIVALS = "benchmarks.search.rivals"
# Their versions are pinned there; the project's own environment lacks the packages.
_RIVALS_CODE = tuple(
    f"benchmarks/search/rivals/{name}" for name in ("library_spaces.py", "requirements.in")
)
_IN_HERE = "benchmarks/search/methods"
# What a form with this pruner uses beside its family's code.
_PAUSING = "+promotion"
_PAUSING_CODE = (f"{_IN_HERE}/paused_search.py", "tuner/algorithms/promotion.py")
FAMILIES: dict[str, Family] = {
    "random": Family(f"{_HERE}.random_search"),
    "optuna": Family(f"{_HERE}.optuna_search", packages=("optuna",)),
    "portfolio": Family(
        f"{_HERE}.portfolio_search",
        code=(
            "tuner/algorithms",
            f"{_IN_HERE}/tuner_search.py",
            "benchmarks/search/portfolio.py",
            "benchmarks/search/tables",
        ),
        packages=("optuna",),
    ),
    "top-k": Family(f"{_HERE}.top_k", code=("benchmarks/search/methods/random_search.py",)),
    "tuner": Family(
        f"{_HERE}.tuner_search",
        code=("benchmarks/search/methods/optuna_search.py",),
        packages=("optuna",),
    ),
    "prior": Family(
        f"{_HERE}.prior_search",
        code=(
            "benchmarks/search/methods/optuna_search.py",
            "benchmarks/search/methods/tuner_search.py",
            "tuner/algorithms/priors.py",
        ),
        packages=("optuna",),
    ),
    "syne-tune": Family(f"{_RIVALS}.syne_tune_search", code=_RIVALS_CODE),
    "neps": Family(f"{_RIVALS}.neps_search", code=_RIVALS_CODE),
    "keras-tuner": Family(f"{_RIVALS}.keras_tuner_search", code=_RIVALS_CODE),
}


def family_of(name: str) -> Family:
    """Raises ValueError, which lists the families, for an unknown one."""
    prefix = name.partition(":")[0]
    if prefix not in FAMILIES:
        raise ValueError(f"unknown method {name!r}; there are: {', '.join(FAMILIES)}")
    return FAMILIES[prefix]


def make_method(name: str, setting: Setting) -> Method:
    """Raises ValueError for an unknown name."""
    module = import_module(family_of(name).module)
    return module.build(name.partition(":")[2], setting)


def code_version(name: str) -> str:
    """Changes when the code of the method does: a hash of its files and package versions, and of
    what `code_of(form)` of its module returns, if that exists."""
    family = family_of(name)
    own = Path(*family.module.split(".")).with_suffix(".py")
    digest = hashlib.sha256()
    code = (*family.code, *(_PAUSING_CODE if _PAUSING in name else ()))
    for path in (own, *map(Path, code)):
        whole = REPOSITORY / path
        files = [whole]
        if not path.suffix:
            files = sorted(f for f in whole.rglob("*") if f.suffix in (".py", ".parquet"))
        for file in files:
            digest.update(file.read_bytes())
    for package in family.packages:
        digest.update(_package_version(package).encode())
    code_of = getattr(import_module(family.module), "code_of", None)
    if code_of is not None:
        digest.update(code_of(name.partition(":")[2]).encode())
    return digest.hexdigest()[:12]


def _package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
