"""The weights and optimizer slots of trials side by side, padded to common widths."""

from collections.abc import Iterable, Mapping

import numpy as np

from tuner.search_space.parameter_types import Params
from tuner.training.engines.graph_network import (
    array_names,
    first_arrays,
    is_trained,
    layer_sizes,
    present_arrays,
)
from tuner.training.ops.optimizers import optimizer_variant, optimizer_variants, shared_update
from tuner.training.program_key import ProgramKey

# name -> float32 (lanes, …) of one layer; the names are those of graph_network.array_names.
Arrays = dict[str, np.ndarray]


class LaneStore:
    """Arrays with the lane as first axis. What is read and written of one lane has its true sizes.

    `sizes`: inputs and outputs; `widths`: units that the hidden layers have room for.
    """

    def __init__(
        self, key: ProgramKey, sizes: tuple[int, int], widths: tuple[int, ...], lanes: int
    ) -> None:
        self._key, self._sizes, self._lanes = key, sizes, lanes
        self._room = [sizes[0], *widths, sizes[1]]
        variants = optimizer_variants(key.optimizers, "momentum" in key.included)
        slots = {slot for variant in variants for slot in shared_update(variant).slots}
        layers = range(key.depth + 1)
        self.layers = [self._zeros(number, array_names(key, number)) for number in layers]
        self.slots: dict[str, list[Arrays]] = {
            slot: [self._zeros(n, filter(is_trained, array_names(key, n))) for n in layers]
            for slot in sorted(slots)
        }
        self.params: list[Params] = [{}] * lanes
        self.seeds, self.done = [0] * lanes, [0] * lanes

    def _zeros(self, number: int, names: Iterable[str]) -> Arrays:
        before, units = self._room[number : number + 2]
        shapes = {"kernel": (self._lanes, before, units)}
        return {name: np.zeros(shapes.get(name, (self._lanes, units)), "f") for name in names}

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
        starts = self._slots_of(lane)
        for slot, layers in self.slots.items():
            for layer in layers:
                for whole in layer.values():
                    whole[lane] = starts.get(slot, 0.0)

    def _slots_of(self, lane: int) -> Mapping[str, float]:
        return shared_update(optimizer_variant(self.params[lane])).slots

    def weights(self, lane: int) -> list[np.ndarray]:
        """As `model.get_weights()` of the Keras network orders them."""
        return [self._own(self.layers, lane, *place).copy() for place in self._places(lane)]

    def set_weights(self, lane: int, weights: list[np.ndarray]) -> None:
        for place, value in zip(self._places(lane), weights, strict=True):
            self._own(self.layers, lane, *place)[...] = value

    def state(self, lane: int) -> dict[str, list[np.ndarray]]:
        """In the form of GraphProgram.state: each goes on from the other's."""
        slots = {
            slot: [
                self._own(self.slots[slot], lane, *place).copy() for place in self._trained(lane)
            ]
            for slot in self._slots_of(lane)
        }
        return {"model": self.weights(lane), "steps": [np.asarray(self.done[lane])], **slots}

    def restore(self, lane: int, state: dict[str, list[np.ndarray]]) -> None:
        self.set_weights(lane, state["model"])
        self.done[lane] = int(state["steps"][0])
        for slot in self._slots_of(lane):
            for place, value in zip(self._trained(lane), state[slot], strict=True):
                self._own(self.slots[slot], lane, *place)[...] = value

    def parameter_count(self, lane: int) -> int:
        return sum(self._own(self.layers, lane, *place).size for place in self._trained(lane))

    def _places(self, lane: int) -> list[tuple[int, str]]:
        """Layer and name of all that a lane's trial has, in Keras' order."""
        params = self.params[lane]
        return [
            (number, name)
            for number in range(self._key.depth + 1)
            for name in present_arrays(params, number)
        ]

    def _trained(self, lane: int) -> list[tuple[int, str]]:
        return [place for place in self._places(lane) if is_trained(place[1])]

    def _own(self, layers: list[Arrays], lane: int, number: int, name: str) -> np.ndarray:
        """The part of an array without its padding, in place."""
        before, units = layer_sizes(self.params[lane], self._sizes)[number : number + 2]
        whole = layers[number][name][lane]
        return whole[:before, :units] if name == "kernel" else whole[:units]


def _put(whole: np.ndarray, value: np.ndarray) -> None:
    whole[...] = 0.0
    whole[tuple(slice(size) for size in value.shape)] = value
