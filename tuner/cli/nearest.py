"""What a mistyped command or option may have meant, found in the tree of all commands."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from tuner.system.names import command

Path = tuple[str, ...]

# difflib's own limit for close matches.
_SIMILAR = 0.6
# From here on a word is a slip, such as a missing letter, even if it is another command's option.
_SLIP = 0.85
# Words that are about as similar as the best one are named beside it.
_AS_SIMILAR = 0.05
_MOST_NAMED = 3


def unknown_command(context: Any, words: Sequence[str]) -> str:
    """The message for a word that names no command. `context`: of the group where it stands.
    `words`: it and all words after it."""
    root, group = context.find_root().command, _path_of(context)
    start = f"no such command '{' '.join([*group, words[0]])}'"
    paths = _nearest_paths(root, group, words[0])
    if not paths:
        return f"{start}; see {command(*group, '--help')}"
    if len(paths) == 1:
        return f"{start}; did you mean: {command(*_with_rest(root, paths[0], words[1:]))}"
    return f"{start}; did you mean: {', or '.join(command(*path) for path in paths)}"


def unknown_option(context: Any, option: str) -> str:
    """The message for an option that the context's command does not have."""
    root, path = context.find_root().command, _path_of(context)
    start, help_text = f"no such option {option}", f"see {command(*path, '--help')}"
    owners = [other for other, member in _walk(root) if option in _options(member)]
    is_known = option in _options(root) or 0 < len(owners) <= _MOST_NAMED
    least = _SLIP if is_known else _SIMILAR
    if near := _most_similar(option, _options(context.command), least):
        return f"{start}; did you mean {' or '.join(near)}? {help_text}"
    if option in _options(root):
        return f"{start} here; it stands between tuner and {' '.join(path)}"
    if is_known:
        named = ", or ".join(command(*owner) for owner in owners)
        return f"{start}; it is an option of: {named}"
    return f"{start}; {help_text}"


def _path_of(context: Any) -> Path:
    """The words that name a context's command, without `tuner`."""
    return () if context.parent is None else (*_path_of(context.parent), context.info_name)


def _nearest_paths(root: Any, group: Path, word: str) -> list[Path]:
    """The commands that a word may have meant: of that name elsewhere, else of a similar name in
    this group, else anywhere."""
    everywhere = [path for path, _ in _walk(root)]
    here = [path for path in everywhere if path[:-1] == group]
    if same := [path for path in everywhere if path[-1] == word]:
        return same[:_MOST_NAMED]
    for paths in (here, everywhere):
        if near := _most_similar(word, [path[-1] for path in paths]):
            return [path for path in paths if path[-1] in near][:_MOST_NAMED]
    return []


def _with_rest(root: Any, path: Path, rest: Sequence[str]) -> list[str]:
    """The whole command: the path, and the words after the mistyped one. If the path is a group's,
    the first of them is its command, and may be mistyped too."""
    members = root
    for name in path:
        members = members.commands[name]
    names = getattr(members, "commands", {})
    if names and rest and rest[0] not in names and (near := _most_similar(rest[0], names)):
        return [*path, near[0], *rest[1:]]
    return [*path, *rest]


def _most_similar(word: str, names: Iterable[str], least: float = _SIMILAR) -> list[str]:
    """The names most similar to the word, in the order given; none where no name's ratio of
    similarity is at least `least`."""
    ratios = {name: SequenceMatcher(None, word[:80], name).ratio() for name in names}
    best = max(ratios.values(), default=0.0)
    if best < least:
        return []
    return [name for name, ratio in ratios.items() if ratio >= best - _AS_SIMILAR][:_MOST_NAMED]


def _walk(group: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """All groups and commands below a group with their paths, as the help lists them."""
    for name, member in group.commands.items():
        if not member.hidden:
            yield (*path, name), member
            if hasattr(member, "commands"):
                yield from _walk(member, (*path, name))


def _options(member: Any) -> list[str]:
    return [
        option
        for parameter in member.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    ]
