import threading

import pytest

from tensor_optix.support.undisturbed import Undisturbed


def test_each_block_has_a_number_of_its_own_and_outside_there_is_none() -> None:
    undisturbed, numbers = Undisturbed(), list[int]()
    for _ in range(2):
        with undisturbed.block():
            numbers.append(undisturbed.number)
            with undisturbed.block():
                numbers.append(undisturbed.number)
            assert undisturbed.number == numbers[-2]
    assert undisturbed.number == 0
    assert len({0, *numbers}) == 5


def test_a_block_that_fails_is_left() -> None:
    undisturbed = Undisturbed()
    with pytest.raises(ValueError, match="it fails"), undisturbed.block():
        raise ValueError("it fails")
    assert undisturbed.number == 0


def test_another_thread_is_outside() -> None:
    undisturbed, found = Undisturbed(), list[int]()
    with undisturbed.block():
        thread = threading.Thread(target=lambda: found.append(undisturbed.number))
        thread.start()
        thread.join()
    assert found == [0]
