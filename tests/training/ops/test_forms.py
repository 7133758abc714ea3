"""All forms of every entry of the tables of operations compute the same.

The tests are parametrised over the tables, so that a new entry is tested by itself: the Keras form,
the graph's and the lanes'. That one of them is right is tested against Keras and NumPy elsewhere.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from tensorflow_helpers import make_dataset

from tuner.search_space.parameters import ACTIVATIONS as ACTIVATION_NAMES
from tuner.search_space.parameters import LOSSES, catalogue
from tuner.search_space.parameters import OPTIMIZERS as OPTIMIZER_NAMES
from tuner.training.ops import normalization
from tuner.training.ops.activations import ACTIVATIONS, branch_activation, select_activation
from tuner.training.ops.augmentation import Augmentation
from tuner.training.ops.dropout import (
    DropoutClock,
    FastDropout,
    draw_masks,
    drop_lanes,
)
from tuner.training.ops.losses import Objective
from tuner.training.ops.normalization import NORMALIZATIONS
from tuner.training.ops.optimizers import (
    OPTIMIZERS,
    Coefficients,
    StepNumbers,
    build_optimizer,
    graph_schedule,
    lane_schedule,
    lane_update,
    shared_update,
)
from tuner.training.ops.regularizers import (
    GRAPH,
    LANES,
    ONE_TRIAL,
    RULES,
    ArrayLayout,
    Regularizers,
    StepContext,
)

pytestmark = pytest.mark.tensorflow

DEFAULTS = {name: parameter.default for name, parameter in catalogue("mlp").items()}
SHARED = [name for name, optimizer in OPTIMIZERS.items() if optimizer.shared is not None]
SEED, STEP = 5, 3
# Numbers of two lanes; an activation's number, momentum and the like are shares.
SHARES = np.array([0.3, 0.7], np.float32)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(ours: Any, theirs: Any, tolerance: float = 2e-6) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=tolerance, atol=tolerance)


def with_gradient(
    function: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray, upstream: np.ndarray
) -> list[np.ndarray]:
    """The values at x, and what the gradient makes of `upstream`."""
    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        y = function(point)
    return [y.numpy(), tape.gradient(y, point, output_gradients=upstream).numpy()]


# Activations


def test_every_activation_of_the_catalogue_is_in_the_table() -> None:
    assert {*ACTIVATION_NAMES} == ACTIVATIONS.keys()
    numbers = {activation.number for activation in ACTIVATIONS.values()} - {None}
    assert numbers <= DEFAULTS.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_in_all_its_forms(name: str) -> None:
    activation, x, upstream = ACTIVATIONS[name], draw(2, 7, 5), draw(2, 7, 5, seed=9)
    numbers = {} if activation.number is None else {activation.number: SHARES}
    # As one of two, so that each form has to choose.
    names = [name, "tanh" if name != "tanh" else "relu"]
    place = tf.zeros([2, 1, 1], tf.int32)
    beside = {key: tf.reshape(tf.constant(value), [2, 1, 1]) for key, value in numbers.items()}
    lanes = with_gradient(lambda x: select_activation(names, place, beside, x), x, upstream)
    for lane in range(2):
        own = {key: float(value[lane]) for key, value in numbers.items()}
        scalars = {key: tf.constant(value) for key, value in own.items()}
        forms = [
            activation.function(scalars),
            branch_activation(names, tf.constant(0), scalars),
            activation.compiled_form(scalars),
            activation.exported_form(own),
        ]
        for form in forms:
            for mine, theirs in zip(
                with_gradient(form, x[lane], upstream[lane]), lanes, strict=True
            ):
                close(mine, theirs[lane])


# Optimizers


def test_every_optimizer_of_the_catalogue_is_in_the_table() -> None:
    assert {*OPTIMIZER_NAMES} <= OPTIMIZERS.keys()
    parameter = catalogue("mlp")["optimizer"]
    for name in OPTIMIZER_NAMES:
        assert (OPTIMIZERS[name].shared is None) == parameter.needs_keras(name), name


def params_of(variant: str) -> dict[str, Any]:
    if variant in ("momentum", "nesterov"):
        return {"optimizer": "sgd", "momentum": 0.8, "nesterov": variant == "nesterov"}
    return {"optimizer": variant}


def by_keras(variant: str, start: np.ndarray, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The weight after each step."""
    params, variable = params_of(variant), keras.Variable(start)
    optimizer = build_optimizer(params, {"momentum": tf.constant(params.get("momentum", 0.0))})
    optimizer.build([variable])
    after = []
    for gradient, rate in zip(steps, rates, strict=True):
        optimizer.learning_rate.assign(rate)
        optimizer.apply([tf.constant(gradient)], [variable])
        after.append(variable.numpy())
    return np.stack(after)


def by_graph(variant: str, start: np.ndarray, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
    params, update, weight = params_of(variant), shared_update(variant), tf.Variable(start)
    slots = {name: tf.Variable(tf.fill(start.shape, first)) for name, first in update.slots.items()}
    after = []
    for number, gradient in enumerate(steps):
        # One step at a time, as where a trial goes on: `number` steps have been taken before.
        (row,) = graph_schedule(params, rates[number : number + 1], number)
        momentum = tf.constant(params.get("momentum", 0.0))
        step = StepNumbers(tf.constant(row[0]), momentum, tf.constant(row[1:]))
        update.fused(weight, tf.constant(gradient), slots, step)
        after.append(weight.numpy())
    return np.stack(after)


def by_lanes(variant: str, start: np.ndarray, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """As one of two lanes, the other one with nadam; there are slots for every optimizer."""
    tables = [lane_schedule(params_of(name), rates, 0) for name in (variant, "nadam")]
    weight = tf.stack([start, start])
    slots = {
        name: tf.stack([tf.fill(start.shape, shared_update(v).slots.get(name, 0.0)) for v in pair])
        for pair in [(variant, "nadam")]
        for name in ("mean", "square")
    }
    after = []
    for number, gradient in enumerate(steps):
        columns = np.stack([table[number] for table in tables]).T[..., np.newaxis, np.newaxis]
        row = Coefficients(*tf.unstack(tf.constant(columns)))
        weight, slots = lane_update(weight, tf.stack([gradient, gradient]), slots, row)
        after.append(weight[0].numpy())
    return np.stack(after)


@pytest.mark.parametrize("variant", SHARED)
def test_an_optimizer_in_all_its_forms_step_by_step(variant: str) -> None:
    start, steps = draw(4, 3), draw(6, 4, 3, seed=1)
    rates = np.geomspace(0.1, 0.01, 6).astype(np.float32)
    expected = by_keras(variant, start, steps, rates)
    # Where a gradient is small, rounding of the running means shows.
    close(by_graph(variant, start, steps, rates), expected, 5e-6)
    close(by_lanes(variant, start, steps, rates), expected, 5e-6)


@pytest.mark.parametrize("variant", SHARED)
def test_the_numbers_of_a_step_do_not_depend_on_where_a_call_begins(variant: str) -> None:
    params, rates = params_of(variant), np.linspace(0.1, 0.2, 7).astype(np.float32)
    for schedule in (graph_schedule, lane_schedule):
        parts = [schedule(params, rates[:3], 10), schedule(params, rates[3:], 13)]
        np.testing.assert_array_equal(np.concatenate(parts), schedule(params, rates, 10))


# Rules


def test_every_rule_is_a_parameter() -> None:
    assert RULES.keys() <= DEFAULTS.keys()
    for rule in RULES.values():
        assert (rule.penalty is None) == (rule.slope is None)


def context(layout: ArrayLayout) -> StepContext:
    lanes = [2] if layout.lanes else []
    rate, step = tf.fill(lanes, 0.05), tf.fill(lanes, tf.constant(STEP, tf.uint32))
    seed = tf.fill(lanes, tf.constant(SEED, tf.uint32))
    return StepContext(layout, rate, seed=seed, step=step, arrays=(0, 1))


def apply_rule(
    name: str, layout: ArrayLayout, numbers: Mapping[str, tf.Tensor], arrays: list[tf.Tensor]
) -> list[np.ndarray]:
    """Everything that a rule makes of two kernels."""
    rules, where = Regularizers([name], layout), context(layout)
    slopes = [rules.add_slopes(array, array, numbers) for array in arrays]
    results = [rules.penalty(arrays, numbers), *slopes]
    results += rules.change_gradients(arrays, numbers, where)
    results += rules.change_before(arrays, numbers, where)
    results += rules.change_after(arrays, numbers, where)
    return [np.asarray(result) for result in results]


def assign_rule(
    name: str, layout: ArrayLayout, numbers: Mapping[str, tf.Tensor], arrays: list[tf.Tensor]
) -> list[np.ndarray]:
    """The kernels, as variables, after what is done before and after a step."""
    rules, where = Regularizers([name], layout), context(layout)
    before, after = ([tf.Variable(array) for array in arrays] for _ in range(2))
    rules.assign_before(before, numbers, where)
    rules.assign_after(after, numbers, where)
    return [variable.numpy() for variable in [*before, *after]]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_in_all_its_forms(name: str) -> None:
    arrays = [draw(2, 6, 4), draw(2, 4, 3, seed=1)]
    lanes = apply_rule(name, LANES, {name: tf.constant(SHARES)}, [tf.constant(a) for a in arrays])
    for lane, number in enumerate(SHARES):
        numbers = {name: tf.constant(number)}
        own = [tf.constant(array[lane]) for array in arrays]
        mine = apply_rule(name, ONE_TRIAL, numbers, own)
        for result, of_lanes in zip(mine, lanes, strict=True):
            close(result, of_lanes[lane] if of_lanes.ndim else of_lanes)
        for result, other in zip(apply_rule(name, GRAPH, numbers, own), mine, strict=True):
            close(result, other)
        for layout in (ONE_TRIAL, GRAPH):
            assigned = assign_rule(name, layout, numbers, own)
            for result, other in zip(assigned, mine[-4:], strict=True):
                close(result, other)
    unchanged = [array[0] for array in arrays] * 4
    changed = [result[0] for result in lanes[1:]]
    assert any(not np.array_equal(a, b) for a, b in zip(changed, unchanged, strict=True)), name


@pytest.mark.parametrize("name", RULES)
def test_a_rule_leaves_a_trial_alone_that_does_not_have_it(name: str) -> None:
    arrays = [draw(2, 6, 4), draw(2, 4, 3, seed=1)]
    tensors = [tf.constant(array) for array in arrays]
    numbers = {name: tf.constant([0.0, 0.5])}
    penalty, *results = apply_rule(name, LANES, numbers, tensors)
    assert penalty.ndim == 0 or penalty[0] == 0
    for result, array in zip(results, arrays * 4, strict=True):
        np.testing.assert_array_equal(result[0], array[0])
    own, off = [tf.constant(array[0]) for array in arrays], {name: tf.constant(0.0)}
    for result, array in zip(assign_rule(name, GRAPH, off, own), arrays * 2, strict=True):
        np.testing.assert_array_equal(result, array[0])


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.slope is not None])
def test_a_slope_is_the_derivative_of_its_penalty(name: str) -> None:
    kernel, numbers = tf.constant(draw(5, 4)), {name: tf.constant(0.3)}
    rules = Regularizers([name], ONE_TRIAL)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        penalty = rules.penalty([kernel], numbers)
    close(rules.add_slopes(tf.zeros([5, 4]), kernel, numbers), tape.gradient(penalty, kernel))


# Normalisations


def started(name: str, arrays: Mapping[str, np.ndarray], x: np.ndarray) -> Any:
    """Keras' layer with these arrays."""
    layer = NORMALIZATIONS[name].keras()
    layer.build(x.shape)
    layer.set_weights([arrays[key] for key in NORMALIZATIONS[name].arrays])
    return layer


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_a_normalization_starts_as_that_of_keras(name: str) -> None:
    layer = NORMALIZATIONS[name].keras()
    layer.build((None, 3))
    assert [weight.numpy().tolist() for weight in layer.weights] == [
        [start] * 3 for start in NORMALIZATIONS[name].arrays.values()
    ]
    assert len(layer.trainable_weights) == len(NORMALIZATIONS[name].trained)


def arrays_of(name: str, units: int) -> dict[str, np.ndarray]:
    names = NORMALIZATIONS[name].arrays
    return {key: np.abs(draw(2, units, seed=n)) + 0.5 for n, key in enumerate(names)}


def test_batch_norm_in_all_its_forms() -> None:
    x, arrays = draw(2, 8, 5), arrays_of("batch_norm", 5)
    upstream = draw(2, 8, 5, seed=9)
    scale, shift, mean, variance = (arrays[key] for key in ("scale", "shift", "mean", "variance"))
    counted = tf.ones([2, 8])
    on = tf.constant(True)

    def lanes(x: tf.Tensor) -> tf.Tensor:
        statistics = normalization.batch_statistics(x, counted)
        return normalization.normalize_lanes_batch(x, arrays, *statistics)

    of_lanes, moved = with_gradient(lanes, x, upstream), normalization.batch_statistics(x, counted)
    still = normalization.normalize_lanes_batch(x, arrays, mean, variance)
    for n in range(2):
        layer = started("batch_norm", {key: array[n] for key, array in arrays.items()}, x[n])
        forms: list[Callable[[tf.Tensor], tf.Tensor]] = [
            lambda x, n=n: normalization.normalize_batch(x, scale[n], shift[n])[0],  # type: ignore[misc]
            lambda x, n=n: normalization.normalize_batch_if(  # type: ignore[misc]
                on, x, scale[n], shift[n], mean[n], variance[n]
            )[0],
            lambda x, layer=layer: layer(x, training=True),  # type: ignore[misc]
        ]
        moving = normalization.normalize_by_moving(x[n], scale[n], shift[n], mean[n], variance[n])
        close(moving, layer(x[n], training=False), 1e-5)
        close(moving, still[n], 1e-5)
        for form in forms:
            for mine, theirs in zip(with_gradient(form, x[n], upstream[n]), of_lanes, strict=True):
                close(mine, theirs[n], 1e-5)
        # Keras' moving statistics have followed one batch.
        layer = started("batch_norm", {key: array[n] for key, array in arrays.items()}, x[n])
        layer(x[n], training=True)
        _, *graph = normalization.normalize_batch(tf.constant(x[n]), scale[n], shift[n])
        for place, (of_graph, of_lane) in enumerate(zip(graph, moved, strict=True), start=2):
            start = tf.constant((mean, variance)[place - 2])
            both = tf.constant([True, True])
            close(normalization.moved_on(start[n], of_graph), layer.weights[place].numpy(), 1e-5)
            close(
                normalization.moved_on(start, of_lane, both)[n], layer.weights[place].numpy(), 1e-5
            )


def test_batch_norm_that_a_trial_does_not_have() -> None:
    x, off = tf.constant(draw(8, 5)), tf.constant(False)
    ones, zeros = tf.ones(5), tf.zeros(5)
    with tf.GradientTape() as tape:
        tape.watch([x, ones])
        y, mean, variance = normalization.normalize_batch_if(off, x, ones, zeros, zeros, ones)
        total = tf.reduce_sum(y * 3.0)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(mean, zeros)
    np.testing.assert_array_equal(variance, ones)
    to_x, to_scale = tape.gradient(total, [x, ones])
    assert (to_x.numpy() == 3).all()
    assert not to_scale.numpy().any()
    start = tf.ones([2, 5])
    moved = normalization.moved_on(start, tf.zeros([2, 5]), tf.constant([False, True]))
    assert (moved[0].numpy() == 1).all()
    assert (moved[1].numpy() < 1).all()


def test_layer_norm_in_all_its_forms() -> None:
    x, arrays = draw(2, 8, 5), arrays_of("layer_norm", 5)
    upstream = draw(2, 8, 5, seed=9)
    own_units = tf.ones([2, 1, 5])
    of_lanes = with_gradient(
        lambda x: normalization.normalize_lanes_rows(x, arrays, own_units), x, upstream
    )
    for n in range(2):
        layer = started("layer_norm", {key: array[n] for key, array in arrays.items()}, x[n])
        scale, shift = arrays["layer_scale"][n], arrays["layer_shift"][n]
        forms: list[Callable[[tf.Tensor], tf.Tensor]] = [
            layer,
            lambda x, scale=scale, shift=shift: normalization.normalize_rows(x, scale, shift),  # type: ignore[misc]
        ]
        for form in forms:
            for mine, theirs in zip(with_gradient(form, x[n], upstream[n]), of_lanes, strict=True):
                close(mine, theirs[n], 1e-5)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_padding_changes_nothing(name: str) -> None:
    """Rows that fill a short batch up, units beyond a trial's own."""
    x, arrays = draw(1, 8, 5), {key: array[:1] for key, array in arrays_of(name, 5).items()}
    padded = np.pad(x, ((0, 0), (0, 3), (0, 2)))
    padded[:, 8:, :5] = 7.0  # the rows of padding hold some rows of the data
    wide = {key: np.pad(array, ((0, 0), (0, 2))) for key, array in arrays.items()}

    def form(arrays: Any, rows: int, units: int) -> Callable[[tf.Tensor], tf.Tensor]:
        counted = tf.cast(tf.range(rows) < 8, tf.float32)[tf.newaxis]
        own = tf.cast(tf.range(units) < 5, tf.float32)[tf.newaxis, tf.newaxis]

        def normalised(x: tf.Tensor) -> tf.Tensor:
            if name == "layer_norm":
                return normalization.normalize_lanes_rows(x, arrays, own) * counted[..., tf.newaxis]
            statistics = normalization.batch_statistics(x, counted)
            y = normalization.normalize_lanes_batch(x, arrays, *statistics)
            return y * counted[..., tf.newaxis]

        return normalised

    weights = draw(1, 8, 5, seed=9)
    padded_weights = np.pad(weights, ((0, 0), (0, 3), (0, 2)), constant_values=1.0)
    results = []
    for values, function, factors in (
        (x, form(arrays, 8, 5), weights),
        (padded, form(wide, 11, 7), padded_weights),
    ):
        point = tf.constant(values)
        with tf.GradientTape() as tape:
            tape.watch(point)
            y = function(point)
            total = tf.reduce_sum(y * factors)
        results.append((y.numpy(), tape.gradient(total, point).numpy()))
    for plain, wider in zip(*results, strict=True):
        close(wider[:, :8, :5], plain, 1e-5)
    assert not results[1][1][:, :, 5:].any()  # no gradient flows to padding units
    assert not results[1][0][:, :, 5:].any()


# Dropout


def test_dropout_in_all_its_forms() -> None:
    rows, units, rates = 12, 9, [0.3, 0.6]
    masks = [
        draw_masks([(rows, 4), (rows, units)], [0.5, rate], 2, SEED + n, STEP)[1].numpy()
        for n, rate in enumerate(rates)
    ]
    seeds, step = tf.constant([SEED, SEED + 1], tf.uint32), tf.constant([STEP, STEP], tf.uint32)
    x = tf.constant(draw(2, rows, units))
    # A lane whose own width is smaller than the padded one draws the bits of its own units.
    wide = tf.pad(x, [[0, 0], [0, 0], [0, 7]])
    width, rate = tf.constant([units, units]), tf.constant(rates)
    for hidden in (x, wide):
        lanes = drop_lanes(hidden, width, rate, 1, seeds, step)[:, :, :units]
        for n in range(2):
            clock = DropoutClock()
            clock.reset(SEED + n)
            clock.step.assign(STEP)
            layer = FastDropout(1, clock)
            layer.rate.assign(rates[n])
            np.testing.assert_array_equal(layer(x[n], training=True), lanes[n])
            np.testing.assert_array_equal(x[n] * masks[n][0], lanes[n])


# Augmentation


@pytest.mark.parametrize(("shifts", "flips"), [(True, True), (True, False), (False, True)])
def test_augmentation_in_all_its_forms(shifts: bool, flips: bool) -> None:
    augmentation = Augmentation(shifts, flips)
    x = tf.constant(np.abs(draw(2, 30, 6, 5)))
    most, share = tf.constant([2.0, 0.0]), tf.constant([0.5, 0.0])
    seeds, step = tf.constant([SEED, SEED + 1], tf.uint32), tf.constant([STEP, 1], tf.uint32)
    lanes = augmentation.change_lanes(x, most, share, seeds, step)
    for n in range(2):
        alone = augmentation(x[n], most[n], share[n], seeds[n], step[n])
        np.testing.assert_array_equal(lanes[n], alone)
    assert not np.array_equal(lanes[0], x[0])
    np.testing.assert_array_equal(lanes[1], x[1])  # with 0, a lane's images stay


# Losses


@pytest.mark.parametrize(("task", "loss"), [(t, loss) for t in LOSSES for loss in LOSSES[t]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_loss_in_all_its_forms(task: str, loss: str, smoothing: float) -> None:
    from tuner.training.ops.losses import TASKS, SharedObjective
    from tuner.training.program_key import ProgramKey

    if task in ("regression", "multilabel") and smoothing:
        pytest.skip("no classes to smooth")
    dataset = make_dataset(task)
    outputs = dataset.outputs
    included = frozenset({"label_smoothing"} if smoothing else ())
    key = ProgramKey((("loss", loss),), (), included, frozenset())
    raw, y = tf.constant(draw(2, 10, outputs)), np.stack([dataset.train.y[:10]] * 2)
    numbers = {
        "label_smoothing": tf.constant([smoothing, smoothing / 2]),
        "huber_delta": tf.constant([0.5, 2.0]),
    }
    lanes = SharedObjective(key, dataset).lane_row_values(raw, tf.constant(y), numbers)
    for n in range(2):
        own = {name: number[n] for name, number in numbers.items()}
        graph = SharedObjective(key, dataset).row_values(raw[n], tf.constant(y[n]), own)
        params = {"loss": loss, "label_smoothing": smoothing}
        scaling = dataset.target_scaling
        target = scaling.apply(y[n]) if task == "regression" else y[n]
        probabilities = TASKS[task].activation(raw[n])
        plain = Objective(task, outputs, params, own).row_values(tf.constant(target), probabilities)
        for of_lanes, of_graph, of_keras in zip(lanes, graph, plain, strict=True):
            close(of_lanes[n], of_graph)
            close(of_keras, of_graph)
