"""What is done to weights and gradients beside the optimizer's step: a table of rules, each one
parameter of the catalogue, applied by loops in every engine.

A rule is written once, for arrays of one trial or of lanes side by side; `ArrayLayout` is what
differs. "Kernels" are all trainable weights of two or more axes; biases and the scales and shifts
of normalisations are left alone. To add a rule: its parameter in search_space/parameters.py, its
entry here.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from tuner.training.ops.scalars import Numbers

Tensors = list[tf.Tensor]


@dataclass(frozen=True)
class ArrayLayout:
    """How arrays hold trials. `lanes`: their first axis is the trial, and so is that of every
    number, 0 for a trial without the rule. `branches`: one trial whose number may be 0, in a
    graph: what is done to its weights is in a condition. Neither: the trial has every rule."""

    lanes: bool = False
    branches: bool = False

    def beside(self, number: tf.Tensor, array: tf.Tensor) -> tf.Tensor:
        """The number in a shape that broadcasts against the array."""
        if not self.lanes:
            return number
        return tf.reshape(number, [-1] + [1] * (array.shape.rank - 1))

    def incoming(self, kernel: tf.Tensor) -> list[int]:
        """The axes that run over a unit's incoming weights."""
        return list(range(int(self.lanes), kernel.shape.rank - 1))

    def total(self, array: tf.Tensor) -> tf.Tensor:
        """The sum over a trial's own values: () or (lanes,)."""
        return tf.reduce_sum(array, list(range(1, array.shape.rank)) if self.lanes else None)

    def where_on(self, number: tf.Tensor, changed: tf.Tensor, as_it_was: tf.Tensor) -> tf.Tensor:
        """For lanes: changed only where the number is above 0."""
        return tf.where(number > 0, changed, as_it_was) if self.lanes else changed

    def if_on(self, number: tf.Tensor, then: Any, otherwise: Any) -> Any:
        """In a graph with branches: `then()` only where the number is above 0."""
        return tf.cond(number > 0, then, otherwise) if self.branches else then()


ONE_TRIAL = ArrayLayout()
GRAPH = ArrayLayout(branches=True)
LANES = ArrayLayout(lanes=True)


class StepContext(NamedTuple):
    """What a rule may read besides its number: the step's learning rate, and the trial's seed and
    the steps taken before (uint32) for random draws; () or (lanes,). `arrays`: a number for each
    gradient that `Rule.gradients` is given, so that each draws bits of its own."""

    layout: ArrayLayout
    rate: tf.Tensor
    seed: tf.Tensor
    step: tf.Tensor
    arrays: Sequence[int] = ()


ChangeAll = Callable[[Tensors, tf.Tensor, StepContext], Tensors]


@dataclass(frozen=True)
class Rule:
    """What a number above 0 does; with 0, arrays of lanes must stay as they are.

    `penalty`: summed over a kernel's weights and multiplied by the number, it is added to the
    loss; `slope(kernel, number)`: the derivative of that.
    `gradients`: what becomes of the gradients of all trained weights; `fills_unused`: that of a
    weight that the trial does not have may no longer be zero.
    `before`, `after`: what becomes of the kernels before and after the optimizer's step.
    """

    penalty: Callable[[tf.Tensor], tf.Tensor] | None = None
    slope: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
    fills_unused: bool = False
    gradients: ChangeAll | None = None
    before: ChangeAll | None = None
    after: ChangeAll | None = None


def _clip(gradients: Tensors, most: tf.Tensor, context: StepContext) -> Tensors:
    """Scaled down together where their norm is too large (Pascanu et al., 2013)."""
    layout = context.layout
    if not layout.lanes:
        clipped: Tensors = tf.clip_by_global_norm(gradients, most)[0]
        return clipped
    norm = tf.sqrt(tf.add_n([layout.total(tf.square(gradient)) for gradient in gradients]))
    factor = layout.where_on(most, most / tf.maximum(norm, most), tf.ones_like(norm))
    return [gradient * layout.beside(factor, gradient) for gradient in gradients]


def _decay(kernels: Tensors, amount: tf.Tensor, context: StepContext) -> Tensors:
    """Decoupled decay of weights (Loshchilov and Hutter, 2019)."""
    share = 1.0 - amount * context.rate
    return [kernel * context.layout.beside(share, kernel) for kernel in kernels]


def _bound(kernels: Tensors, most: tf.Tensor, context: StepContext) -> Tensors:
    """Each unit's incoming weights (Srebro et al., 2005)."""
    layout = context.layout

    def bounded(kernel: tf.Tensor) -> tf.Tensor:
        limit = layout.beside(most, kernel)
        squares = tf.reduce_sum(tf.square(kernel), layout.incoming(kernel), keepdims=True)
        norm = tf.sqrt(squares)
        factor = tf.minimum(norm, limit) / tf.maximum(norm, 1e-7)
        return layout.where_on(limit, kernel * factor, kernel)

    return [bounded(kernel) for kernel in kernels]


RULES: dict[str, Rule] = {
    "l1": Rule(penalty=tf.abs, slope=lambda kernel, amount: amount * tf.sign(kernel)),
    "l2": Rule(
        # Beside l1 in the Keras engine tf.square rounds the sum of their gradients otherwise than
        # earlier versions, whose curves must stay equal to the last bit.
        penalty=lambda kernel: kernel**2,
        # The scalars first: one pass over the kernel instead of two.
        slope=lambda kernel, amount: 2.0 * amount * kernel,
    ),
    "clip_norm": Rule(gradients=_clip),
    "weight_decay": Rule(before=_decay),
    "max_norm": Rule(after=_bound),
}


class Regularizers:
    """The rules of one program: those of the table that are among `names`."""

    def __init__(self, names: Container[str], layout: ArrayLayout) -> None:
        self._rules = {name: rule for name, rule in RULES.items() if name in names}
        self._layout = layout

    @property
    def fill_unused(self) -> bool:
        """Whether the gradient of a weight that a trial does not have may no longer be zero: a
        lane's padding, or a bias of another trial."""
        return any(rule.fills_unused for rule in self._rules.values())

    def penalty(self, kernels: Sequence[tf.Tensor], numbers: Numbers) -> tf.Tensor:
        """What is added to the mean loss of a batch: () or (lanes,); 0.0 without a rule."""
        total = tf.constant(0.0)
        rules = [(numbers[name], r.penalty) for name, r in self._rules.items() if r.penalty]
        # Orders of summing that earlier versions had: loss curves stay equal to the last bit.
        if self._layout.lanes:
            for kernel in kernels:
                for number, measure in rules:
                    total += number * self._layout.total(measure(kernel))
            return total
        for number, measure in rules:
            total += number * tf.add_n([self._layout.total(measure(kernel)) for kernel in kernels])
        return total

    def add_slopes(self, gradient: tf.Tensor, kernel: tf.Tensor, numbers: Numbers) -> tf.Tensor:
        """A kernel's gradient with those of the penalties."""
        for name, rule in self._rules.items():
            if rule.slope is not None:
                number = self._layout.beside(numbers[name], kernel)
                gradient = gradient + rule.slope(kernel, number)
        return gradient

    def change_gradients(
        self, gradients: Tensors, numbers: Numbers, context: StepContext
    ) -> Tensors:
        for name, rule in self._rules.items():
            if rule.gradients is not None:
                gradients = self._layout.if_on(
                    numbers[name],
                    partial(rule.gradients, gradients, numbers[name], context),
                    partial(_copies, gradients),
                )
        return gradients

    def change_before(self, kernels: Tensors, numbers: Numbers, context: StepContext) -> Tensors:
        """The kernels as the optimizer's step finds them."""
        for name, rule in self._rules.items():
            if rule.before is not None:
                kernels = rule.before(kernels, numbers[name], context)
        return kernels

    def change_after(self, kernels: Tensors, numbers: Numbers, context: StepContext) -> Tensors:
        """The kernels as the step leaves them."""
        for name, rule in self._rules.items():
            if rule.after is not None:
                kernels = rule.after(kernels, numbers[name], context)
        return kernels

    def assign_before(self, kernels: Sequence[Any], numbers: Numbers, context: StepContext) -> None:
        """`change_before`, for variables."""
        for name, rule in self._rules.items():
            if rule.before is not None:
                self._assign(rule.before, kernels, numbers[name], context)

    def assign_after(self, kernels: Sequence[Any], numbers: Numbers, context: StepContext) -> None:
        """`change_after`, for variables."""
        for name, rule in self._rules.items():
            if rule.after is not None:
                self._assign(rule.after, kernels, numbers[name], context)

    def _assign(
        self, change: ChangeAll, kernels: Sequence[Any], number: tf.Tensor, context: StepContext
    ) -> None:
        def assign() -> None:
            values = [tf.convert_to_tensor(kernel) for kernel in kernels]
            for kernel, value in zip(kernels, change(values, number, context), strict=True):
                kernel.assign(value)

        # The assignments are inside the condition: where the rule is off nothing is copied.
        self._layout.if_on(number, assign, lambda: None)


def _copies(tensors: Tensors) -> Tensors:
    return [tf.identity(tensor) for tensor in tensors]


class ModelRegularizers:
    """The rules that a trial's `params` ask for, on a built Keras model."""

    def __init__(self, model: Any, params: Mapping[str, Any], numbers: Numbers) -> None:
        self._model, self._numbers = model, numbers
        self._kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
        on = [name for name in RULES if params.get(name, 0) > 0]
        self._rules = Regularizers(on, ONE_TRIAL)

    def penalty(self) -> tf.Tensor:
        """What is added to the mean loss of a batch, with what a user's own layers add to it."""
        kernels = [tf.convert_to_tensor(kernel) for kernel in self._kernels]
        return tf.add_n([*self._model.losses, self._rules.penalty(kernels, self._numbers)])

    def change_gradients(self, gradients: list[Any], context: StepContext) -> list[Any]:
        """The gradient of a variable that takes no part stays None."""
        used = {place: each for place, each in enumerate(gradients) if each is not None}
        context = context._replace(arrays=tuple(used))
        wanted = list(used.values())
        changed = iter(self._rules.change_gradients(wanted, self._numbers, context))
        return [None if gradient is None else next(changed) for gradient in gradients]

    def before_step(self, context: StepContext) -> None:
        self._rules.assign_before(self._kernels, self._numbers, context)

    def after_step(self, context: StepContext) -> None:
        self._rules.assign_after(self._kernels, self._numbers, context)
