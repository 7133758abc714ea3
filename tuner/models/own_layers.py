"""Layers of a user's own code, which Keras finds only once that code has run.

A saved network carries the text of the files. They run only where they are files of this machine,
or where the user has agreed to them (`manage/trust.py`). Keras' safe mode stays on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePath

from tuner.errors import ArtifactError, first_line
from tuner.manage.carried_code import Code
from tuner.settings import Settings, quiet_tensorflow
from tuner.system.redirecting import python_output_only
from tuner.system.user_modules import Surroundings, error_place, stored_surroundings


def codes_of(texts: Mapping[str, str]) -> list[Code]:
    """The files of `NetworkDescription.code`."""
    return [Code(path, text) for path, text in texts.items()]


def require_trusted_layers(
    texts: Mapping[str, str], settings: Settings, source: str, trust: Sequence[str] = ()
) -> None:
    """See `trust.require_trusted_copies`, which most networks do not need."""
    if texts or trust:
        from tuner.manage.trust import require_trusted_copies

        require_trusted_copies(codes_of(texts), settings, source, trust)


@contextmanager
def own_layers(
    texts: Mapping[str, str], settings: Settings, source: str, trust: Sequence[str] = ()
) -> Iterator[None]:
    """Inside, Keras finds what these files register: `NetworkDescription.code`, the network's file
    first, then the modules of its folder. `source`: what names the network. `trust`: SHA-256 of
    files that may run from now on.

    Raises UntrustedCode for files that may not run here, ArtifactError where they raise.
    """
    require_trusted_layers(texts, settings, source, trust)
    if not texts:
        yield
        return
    path, text = next(iter(texts.items()))
    try:
        modules = _modules(texts)
    except ValueError as error:
        raise ArtifactError(f"{source}: its code cannot be read ({error})") from error
    surroundings = stored_surroundings(path, text, modules, _place(path, settings))
    try:
        _run(text, surroundings)
    except Exception as error:
        place = error_place(error, surroundings.files) or path
        raise ArtifactError(
            f"{source}: the code of its layers raises at {place}: {first_line(error)}"
        ) from error
    with surroundings.on_path():
        yield


def _run(text: str, surroundings: Surroundings) -> None:
    quiet_tensorflow()
    with python_output_only():
        from tuner.networks.custom import run_network_file

        run_network_file(text, surroundings)


def _modules(texts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Path in the folder of the network's file, and text, of the other files."""
    main, *others = texts
    folder = PurePath(main).parent
    return tuple((PurePath(path).relative_to(folder).as_posix(), texts[path]) for path in others)


def _place(path: str, settings: Settings) -> str:
    from tuner.manage.trust import find_code

    file = find_code(path, settings)
    return "" if file is None else str(file)
