"""What a new study knows beforehand: a portfolio, the best trials of earlier studies, a prior."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from tuner.algorithms.portfolios import portfolio, portfolio_kinds
from tuner.algorithms.priors import default_centres, spread_out
from tuner.algorithms.samplers import SAMPLERS
from tuner.data import Dataset
from tuner.errors import SpecError, StudyError
from tuner.manage.wanted_study import Wanted
from tuner.search_space import Space
from tuner.search_space.transfer import Transferred
from tuner.storage import Store
from tuner.storage.studies import StudyRow, check_is_search, load_study, no_finished_trial
from tuner.storage.trials import stream_trials, varying_params
from tuner.study.prior_spec import FlatConfiguration, PriorSpec
from tuner.study.spec import Choice, StudySpec
from tuner.values import Scalar

# Of each earlier study: its best trials that are read, and how many of them make the prior. Of all
# earlier studies together: how many are tried first.
_BEST_READ = 200
_SHARE_LEARNED = 0.1
_LEAST_LEARNED, _MOST_LEARNED = 4, 10
MOST_TRIED_FIRST = 4
MOST_OF_PORTFOLIO = 8
_MOST_NAMES = 5

Configuration = Mapping[str, Scalar | list[Scalar]]


class EarlierStudy(NamedTuple):
    """A study that another one learns from. `searched`: its parameters that vary. `best`: all
    parameters of its best trials, the best first. `finished`: how many trials ran to their end."""

    name: str
    network: str
    searched: frozenset[str]
    finished: int
    best: tuple[Configuration, ...]


def read_earlier_studies(
    store: Store, names: Sequence[str], new_name: str | None
) -> tuple[EarlierStudy, ...]:
    """The studies of these names, each once. Raises StudyError for one that is unknown or has
    nothing to teach, and for the new study itself."""
    earlier = []
    for name in dict.fromkeys(names):
        if name == new_name:
            raise StudyError(f"study {name!r} cannot learn from itself; name an earlier study")
        earlier.append(_read_earlier(store, load_study(store, name)))
    return tuple(earlier)


def _read_earlier(store: Store, study: StudyRow) -> EarlierStudy:
    check_is_search(study, "learning from it")
    if study.spec.further_objectives:
        raise StudyError(
            f"study {study.name!r} has several objectives, and no best trials to learn from; "
            "name one with a single objective"
        )
    best = stream_trials(store, study, best_first=True, limit=_BEST_READ)
    complete = [trial for trial in best if trial.state == "COMPLETE" and trial.usable]
    scored = [trial for trial in complete if trial.value is not None]
    if not scored:
        raise no_finished_trial(study)
    searched = frozenset(varying_params(store, study))
    params = tuple(dict(trial.params) for trial in scored)
    return EarlierStudy(study.name, study.spec.space.network, searched, len(scored), params)


def settle_prior(
    space: Space,
    wanted: Wanted,
    sampler: Choice,
    earlier: Sequence[EarlierStudy],
    dataset: Dataset | None = None,
) -> PriorSpec:
    """What the study stores of its prior. `space`: fitted to the data. `sampler`: the study's.
    `dataset`: None where a function trains on data of its own. Raises SpecError where there is
    nothing to know."""
    if not (wanted.portfolio or wanted.prior or earlier):
        return PriorSpec()
    if SAMPLERS[sampler.name].needs_space:
        raise SpecError(
            f"sampler {sampler.name} tries a fixed list: it takes no prior, no portfolio, "
            "and learns from no earlier study"
        )
    centres = [flat for study in earlier for flat in _centres(space, study)]
    if wanted.prior:
        centres += _default_centres(space)
    baselines = [space.flatten(baseline) for baseline in space.baselines]
    tried_first = [flat for flat in _in_turn(space, earlier) if flat not in baselines]
    known = [*baselines, *tried_first]
    chosen = _portfolio(space, dataset) if wanted.portfolio else []
    return PriorSpec(
        portfolio=tuple(flat for flat in chosen if flat not in known),
        learned_from=tuple(study.name for study in earlier),
        learned=tuple(tried_first),
        centres=tuple(centres),
        of_defaults=wanted.prior,
        with_portfolio=wanted.portfolio,
    )


def _centres(space: Space, study: EarlierStudy) -> list[FlatConfiguration]:
    """Where the earlier study's best configurations lie in the new space. What it did not search
    says nothing. Raises SpecError where none of its parameters has a use here."""
    searched = [
        {name: value for name, value in params.items() if name in study.searched}
        for params in _learned(study)
    ]
    flats = [_transfer(space, params).flat for params in searched]
    if not any(flats):
        raise SpecError(
            f"study {study.name} searched nothing that {space.network} searches here: there is "
            "nothing to learn from it"
        )
    return [flat for flat in flats if flat]


def _learned(study: EarlierStudy) -> tuple[Configuration, ...]:
    """The configurations that are learned from a study: of more trials more."""
    count = round(_SHARE_LEARNED * study.finished)
    return study.best[: min(max(count, _LEAST_LEARNED), _MOST_LEARNED)]


def _transfer(space: Space, params: Configuration) -> Transferred:
    """Of a function that asks for its parameters itself, the names are taken as they are."""
    if not space.function_kind.defines_space:
        return space.transfer(params)
    scalars = {name: value for name, value in params.items() if not isinstance(value, list)}
    return Transferred(scalars)


def _in_turn(space: Space, earlier: Sequence[EarlierStudy]) -> list[FlatConfiguration]:
    """What is tried first: the best of each study, then others that lie apart from these."""
    of_studies = [[_transfer(space, params).flat for params in _learned(s)] for s in earlier]
    turns = [flat for turn in zip_longest(*of_studies) for flat in turn if flat]
    return spread_out(turns, space.distributions(), MOST_TRIED_FIRST)


def _default_centres(space: Space) -> list[FlatConfiguration]:
    centres = default_centres(space)
    if not centres:
        raise SpecError(
            f"{space.network} has no defaults and no baselines of what it searches: they are what "
            "a prior is made of; name baselines in the space's file"
        )
    return centres


def _portfolio(space: Space, dataset: Dataset | None) -> list[FlatConfiguration]:
    is_table = dataset is not None and (dataset.is_table or _is_vector(dataset))
    kind = "tabular" if space.network == "mlp" and is_table else space.network
    transferred = [space.transfer(each).flat for each in portfolio(kind)]
    if not any(transferred):
        kinds = ", ".join(portfolio_kinds())
        raise SpecError(f"there is no portfolio for {space.network}; there are: {kinds}")
    return spread_out(filter(None, transferred), {}, MOST_OF_PORTFOLIO)


def _is_vector(dataset: Dataset) -> bool:
    return not dataset.inputs and len(dataset.input_shape) == 1


def describe_prior(spec: StudySpec, earlier: Iterable[EarlierStudy]) -> list[str]:
    """What the user should know of the study's prior, a line each."""
    lines = [_describe_learning(spec, study) for study in earlier]
    if spec.prior.of_defaults:
        lines.append("the first proposals are drawn near the defaults and the baselines")
    if tried_first := spec.prior.tried_first_in_words:
        lines.append(f"tried first, behind the baselines: {tried_first}")
    if spec.prior.with_portfolio and not spec.prior.portfolio:
        lines.append("the portfolio has nothing that is not tried anyway")
    return lines


def _describe_learning(spec: StudySpec, study: EarlierStudy) -> str:
    transferred = _transfer(spec.space, study.best[0])
    line = f"learns from study {study.name}: the best of its {study.finished} complete trials"
    if study.network != spec.space.network:
        line += f"; its network is another one ({study.network}): parameters are matched by name"
    if unused := [name for name in transferred.dropped if name in study.searched]:
        names = ", ".join(unused[:_MOST_NAMES])
        more = len(unused) - _MOST_NAMES
        line += f"; without use here: {names}" + (f" and {more} more" if more > 0 else "")
    return line
