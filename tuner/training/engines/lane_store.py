"""The weights and optimizer slots of trials side by side, padded to common widths."""

from typing import Any

import numpy as np

from tuner.training.engines.graph_network import TRAINED, first_arrays, layer_sizes, present
from tuner.training.ops.optimizers import FORMS, form_of
from tuner.training.program_key import ProgramKey

Params = dict[str, Any]
# name -> float32 (lanes, …) of one layer; the names are those of network.Layer.
Arrays = dict[str, np.ndarray]


class LaneStore:
    """Arrays with the lane as first axis, and what is read and written of one lane: true sizes.

    `sizes`: inputs and outputs; `widths`: units that the hidden layers have room for.
    """

    def __init__(
        self, design: ProgramKey, sizes: tuple[int, int], widths: tuple[int, ...], lanes: int
    ) -> None:
        self._design, self._sizes, self._lanes = design, sizes, lanes
        self._room = [sizes[0], *widths, sizes[1]]
        slots = {slot for form in design.update_forms for slot in FORMS[form].slots}
        layers = range(design.depth + 1)
        self.layers: list[Arrays] = [self._zeros(number, design.layer_arrays) for number in layers]
        self.slots: dict[str, list[Arrays]] = {
            slot: [self._zeros(number, TRAINED) for number in layers] for slot in sorted(slots)
        }
        self.params: list[Params] = [{}] * lanes
        self.seeds, self.done = [0] * lanes, [0] * lanes

    def _zeros(self, number: int, wanted: tuple[str, ...]) -> Arrays:
        before, units = self._room[number : number + 2]
        hidden = number < self._design.depth
        return {
            name: np.zeros((self._lanes, *((before,) if name == "kernel" else ()), units), "f")
            for name in self._design.layer_arrays
            if name in wanted and (hidden or name in ("kernel", "bias"))
        }

    @property
    def nbytes(self) -> int:
        arrays = [*self.layers, *(layer for layers in self.slots.values() for layer in layers)]
        return sum(array.nbytes for layer in arrays for array in layer.values())

    def start(self, lane: int, params: Params, seed: int) -> None:
        """A trial's first weights, its optimizer as new."""
        self.params[lane], self.seeds[lane], self.done[lane] = params, seed, 0
        for layer, arrays in zip(self.layers, first_arrays(params, self._sizes, seed), strict=True):
            for name, whole in layer.items():
                _put(whole[lane], arrays[name])
        starts = FORMS[form_of(params)].slots
        for slot, layers in self.slots.items():
            for layer in layers:
                for whole in layer.values():
                    whole[lane] = starts.get(slot, 0.0)

    def weights(self, lane: int) -> list[np.ndarray]:
        """As `model.get_weights()` of the exact network orders them."""
        return [self._cut(self.layers, lane, *place).copy() for place in self._places(lane)]

    def set_weights(self, lane: int, weights: list[np.ndarray]) -> None:
        for place, value in zip(self._places(lane), weights, strict=True):
            self._cut(self.layers, lane, *place)[...] = value

    def state(self, lane: int) -> dict[str, list[np.ndarray]]:
        """As the shared graph's: each goes on from the other's."""
        slots = {
            slot: [self._cut(self.slots[slot], lane, *place).copy() for place in self._learnt(lane)]
            for slot in FORMS[form_of(self.params[lane])].slots
        }
        return {"model": self.weights(lane), "steps": [np.asarray(self.done[lane])], **slots}

    def restore(self, lane: int, state: dict[str, list[np.ndarray]]) -> None:
        self.set_weights(lane, state["model"])
        self.done[lane] = int(state["steps"][0])
        for slot in FORMS[form_of(self.params[lane])].slots:
            for place, value in zip(self._learnt(lane), state[slot], strict=True):
                self._cut(self.slots[slot], lane, *place)[...] = value

    def parameter_count(self, lane: int) -> int:
        return sum(self._cut(self.layers, lane, *place).size for place in self._learnt(lane))

    def _places(self, lane: int) -> list[tuple[int, str]]:
        """Layer and name of all that a lane's trial has, in Keras' order."""
        depth = self._design.depth
        return [
            (number, name)
            for number in range(depth + 1)
            for name in present(self.params[lane], number, number == depth)
        ]

    def _learnt(self, lane: int) -> list[tuple[int, str]]:
        return [place for place in self._places(lane) if place[1] in TRAINED]

    def _cut(self, layers: list[Arrays], lane: int, number: int, name: str) -> np.ndarray:
        """The true part of an array, in place."""
        before, units = layer_sizes(self.params[lane], self._sizes)[number : number + 2]
        whole = layers[number][name][lane]
        return whole[:before, :units] if name == "kernel" else whole[:units]


def _put(whole: np.ndarray, value: np.ndarray) -> None:
    whole[...] = 0.0
    whole[tuple(slice(size) for size in value.shape)] = value
