"""What a block does to an object is undone after it, wherever the object keeps its state."""

import collections
import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import torch

from tensor_optix.support.preserving import LARGEST_CONTAINER, Preserved, Watched


class Thing(SimpleNamespace):
    """Whatever an agent may refer to."""


def rebind(thing: Any) -> None:
    thing.value = 2


def new_attribute(thing: Any) -> None:
    thing.other = 1


def delete(thing: Any) -> None:
    del thing.value


def change_inner(thing: Any) -> None:
    thing.value.value += 1


def append(thing: Any) -> None:
    thing.value.append(9)


def item(thing: Any) -> None:
    thing.value[0] = 9


def deep_item(thing: Any) -> None:
    thing.value["a"][1][0] = 9


def add_inner(thing: Any) -> None:
    thing.value.add_(1.0)


def buffer(thing: Any) -> None:
    thing.value.running_mean += 1.0


CHANGES: list[tuple[Any, Callable[[Any], object]]] = [
    (1, rebind),
    (1, new_attribute),
    (1, delete),
    (Thing(value=1), change_inner),
    ([1], append),
    (collections.deque([1], maxlen=2), append),
    ([1], item),
    (np.zeros(3), item),
    ({"a": [1, (np.zeros(2))]}, deep_item),
    ([Thing(value=1)], lambda thing: change_inner(Thing(value=thing.value[0]))),
    (torch.zeros(2), add_inner),
    (torch.nn.BatchNorm1d(2), buffer),
    (torch.nn.Sequential(torch.nn.BatchNorm1d(2)), lambda thing: buffer(Thing(value=thing.value[0]))),
]


def look(value: Any) -> Any:
    """Return all that a value holds, to be compared."""
    if isinstance(value, Thing):
        return {name: look(inner) for name, inner in vars(value).items()}
    if isinstance(value, torch.nn.Module):
        return {name: tensor.tolist() for name, tensor in value.state_dict().items()}
    if isinstance(value, dict):
        return {name: look(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | collections.deque):
        return [look(inner) for inner in value]
    return value.tolist() if isinstance(value, np.ndarray | torch.Tensor) else value


@pytest.mark.parametrize(("value", "change"), CHANGES)
def test_a_change_is_seen_and_undone(value: Any, change: Callable[[Any], object]) -> None:
    thing = Thing(value=value)
    before = look(thing)
    with Preserved([thing]) as preserved:
        change(thing)
        assert look(thing) != before
    assert preserved.has_changed
    assert look(thing) == before
    assert thing.value is value


@pytest.mark.parametrize(("value", "change"), CHANGES)
def test_a_change_that_is_watched_stays(value: Any, change: Callable[[Any], object]) -> None:
    thing, alone = Thing(value=copy.deepcopy(value)), Thing(value=copy.deepcopy(value))
    with Watched([thing]) as watched:
        change(thing)
    assert watched.changes
    change(alone)
    assert look(thing) == look(alone)


@pytest.mark.parametrize("value", [1, [1], np.zeros(3), {"a": (1, [2])}, torch.zeros(2), torch.nn.BatchNorm1d(2)])
def test_a_look_is_no_change(value: Any) -> None:
    with Preserved([Thing(value=value)]) as preserved, Watched([Thing(value=value)]) as watched:
        pass
    assert not preserved.has_changed
    assert not watched.changes


def test_two_names_of_one_list_stay_one_list_within_the_block() -> None:
    shared = [1]
    thing = Thing(first=shared, second={"same": shared})
    with Preserved([thing]):
        thing.first.append(2)
        assert thing.second["same"] == [1, 2]
    assert shared == [1]


def test_a_block_goes_on_where_an_earlier_one_ended_and_leaves_no_trace_either() -> None:
    thing = Thing(h=np.zeros(2), inner=Thing(seen=[1]), gone=1, steps=0)
    with Preserved([thing]) as first:
        thing.h, thing.new = np.ones(2), 5
        thing.inner.seen.append(2)
        del thing.gone
    thing.steps = 7
    before = look(thing)
    with Preserved([thing], first.leftover) as second:
        assert thing.h.tolist() == [1.0, 1.0]
        assert (thing.inner.seen, thing.new, thing.steps) == ([1, 2], 5, 7)
        assert not hasattr(thing, "gone")
        thing.h += 1.0
    assert look(thing) == before
    with Preserved([thing], second.leftover):
        assert thing.h.tolist() == [2.0, 2.0]


def test_the_state_of_a_layer_goes_on_too() -> None:
    layer: Any = keras.layers.BatchNormalization()
    layer(np.zeros((1, 2), np.float32))
    with Preserved([Thing(layer=layer)]) as first:
        layer.moving_mean.assign([3.0, 4.0])
    with Preserved([Thing(layer=layer)], first.leftover):
        assert layer.moving_mean.numpy().tolist() == [3.0, 4.0]
    assert layer.moving_mean.numpy().tolist() == [0.0, 0.0]


def test_what_is_no_longer_reached_does_not_go_on() -> None:
    thing, old = Thing(), Thing(value=1)
    thing.inner = old
    with Preserved([thing]) as first:
        old.value = 2
    thing.inner = Thing(value=5)
    with Preserved([thing], first.leftover):
        assert (old.value, thing.inner.value) == (1, 5)


def test_an_error_leaves_the_object_as_it_was() -> None:
    thing = Thing(value=[1])

    def fail() -> None:
        with Preserved([thing]):
            thing.value.append(2)
            raise ValueError("from within")

    with pytest.raises(ValueError, match="from within"):
        fail()
    assert thing.value == [1]


def test_weights_optimizers_and_large_containers_are_shared() -> None:
    layer, replay = torch.nn.Linear(2, 2), list(range(LARGEST_CONTAINER + 1))
    optimizer = torch.optim.Adam(layer.parameters())
    thing = Thing(layer=layer, optimizer=optimizer, replay=replay)
    weight = layer.weight
    with Preserved([thing]):
        assert thing.layer is layer
        assert thing.layer.weight is weight
        assert thing.optimizer.param_groups[0]["params"][0] is weight
        assert thing.replay is replay


def test_random_generators_run_on() -> None:
    thing = Thing(rng=np.random.default_rng(0))
    with Preserved([thing]) as preserved:
        first = thing.rng.random()
    assert thing.rng.random() != first
    assert not preserved.has_changed


def test_what_holds_itself_is_copied_once() -> None:
    thing = Thing(value=[1])
    thing.value.append(thing.value)
    thing.itself = thing
    with Preserved([thing]):
        assert thing.value[1] is thing.value
        thing.value[0] = 2
    assert thing.value[0] == 1


def test_a_stateful_keras_layer_keeps_its_state() -> None:
    model = keras.Sequential([keras.layers.Input((1, 2), batch_size=1), keras.layers.LSTM(3, stateful=True)])
    thing, seen = Thing(model=model), np.ones((1, 1, 2), np.float32)
    with Preserved([thing]) as preserved:
        first = np.array(thing.model(seen))
    assert preserved.has_changed
    assert np.array_equal(np.array(thing.model(seen)), first)
