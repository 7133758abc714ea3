"""tuner with a prior around its sampler: `prior:SOURCE/SAMPLER+PRUNER`.

`prior:wrong/tpe+hyperband` is an example. SOURCE: `default`, `good` or `wrong`, see
`Setting.priors`; `first-` before it also tries that configuration first, as a baseline is.
"""

from benchmarks.search.contract import Setting
from benchmarks.search.methods import tuner_search
from benchmarks.search.methods.tuner_search import TunerSearch, parse_form
from tuner.algorithms.priors import PriorSampler

_FIRST = "first-"


def build(form: str, setting: Setting) -> TunerSearch:
    source, _, rest = form.partition("/")
    name = source.removeprefix(_FIRST)
    if name not in setting.priors:
        known = ", ".join(setting.priors)
        raise ValueError(f"prior:{form}: no prior {name} of table {setting.table}; known: {known}")
    centre = setting.priors[name]
    search = TunerSearch(setting, *parse_form(rest))
    search.study.sampler = PriorSampler(search.study.sampler, [centre], setting.seed)
    if source != name:
        search.study.enqueue_trial(dict(centre))
    return search


def code_of(form: str) -> str:
    """The code of the sampler and the pruner alone."""
    return tuner_search.code_of(form.partition("/")[2])
