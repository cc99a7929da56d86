"""The journal of a search: what is drawn, kept, and still there after a crash."""

from pathlib import Path
from typing import Any

import pytest

from tensor_optix.multirun.space import Choices, Range
from tensor_optix.multirun.study import SearchStudy

SPACE: dict[str, Range | Choices] = {
    "learning_rate": Range(1e-5, 1e-2, "log"),
    "n_epochs": Range(1, 8, integer=True),
    "net_arch": Choices(["8", "8-8"]),
    "n_envs": Choices([1, 2]),
}
PRESET = {"learning_rate": 3e-4, "n_epochs": 4, "net_arch": "8", "n_envs": 2}


def result(*returns: float, **more: Any) -> dict[str, Any]:
    return {"returns": list(returns), "steps": 100, "curve": [[0, 1.0]], "is_pruned": False, **more}


def opened(folder: Path, seed: int = 1) -> SearchStudy:
    return SearchStudy(folder / "journal.log", seed)


def test_a_trial_goes_from_running_to_its_end_and_is_there_again_when_it_is_opened(tmp_path: Path) -> None:
    study = opened(tmp_path)
    study.add(SPACE, "preset", PRESET)
    study.tell_seed(0, 0, result(1.0, 3.0))
    (trial,) = opened(tmp_path).trials()
    assert (trial.drawn, trial.values, trial.state, trial.value) == ("preset", PRESET, "running", None)
    assert (trial.seeds, trial.steps) == ((result(1.0, 3.0),), 100)
    study.tell_seed(0, 1, result(5.0, 7.0))
    study.complete(0)
    for _ in range(2):
        study.add(SPACE, "random")
    study.tell_seed(1, 0, result(0.0, 0.0))
    study.prune(1)
    study.fail(2)
    again = opened(tmp_path).trials()
    assert [one.state for one in again] == ["complete", "pruned", "failed"]
    assert [one.value for one in again] == [4.0, None, None]
    assert again[0].steps == 200


def test_what_is_drawn_depends_on_the_seed_and_on_the_trials_before(tmp_path: Path) -> None:
    def drawn(folder: str, seed: int, *, reopens: bool = False) -> list[Any]:
        (tmp_path / folder).mkdir()
        study, found = opened(tmp_path / folder, seed), []
        for number in range(14):
            kind = "random" if number % 2 else "search"
            found.append(study.add(SPACE, kind).values)
            study.tell_seed(number, 0, result(float(number)))
            study.complete(number)
            study = opened(tmp_path / folder, seed) if reopens else study
        return found

    first = drawn("a", 1)
    assert drawn("b", 1, reopens=True) == first
    assert drawn("c", 2) != first
    backwards = dict(reversed(SPACE.items()))
    (tmp_path / "d").mkdir()
    assert opened(tmp_path / "d").add(backwards, "search").values == first[0]
    assert len({str(values) for values in first}) == 14
    assert all(1e-5 <= values["learning_rate"] <= 1e-2 and 1 <= values["n_epochs"] <= 8 for values in first)


def test_who_is_clearly_worse_on_the_same_episodes_is_known(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for _ in range(3):
        study.add(SPACE, "random")
    assert not study.is_worse_than_the_best(0)
    study.tell_seed(0, 0, result(*(10.0 + i % 3 for i in range(20))))
    study.tell_seed(0, 1, result(*(0.0 for i in range(20))))
    study.complete(0)
    study.tell_seed(1, 0, result(*(9.0 + i % 3 for i in range(20))))
    study.tell_seed(2, 0, result(*(10.0 + i % 3 for i in range(20))))
    assert not study.is_worse_than_the_best(1)  # its mean is above that of all that the best has played
    study.add(SPACE, "random")
    study.tell_seed(3, 0, result(*(0.0 + i % 3 for i in range(20))))
    assert study.is_worse_than_the_best(3)
    assert not study.is_worse_than_the_best(2)


def test_what_a_killed_driver_leaves_is_repaired(tmp_path: Path) -> None:
    opened(tmp_path).add(SPACE, "preset", PRESET)
    path = tmp_path / "journal.log"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 6, "wor')
    (tmp_path / "journal.log.lock").touch()
    study = opened(tmp_path)
    assert path.read_bytes() == whole
    study.tell_seed(0, 0, result(1.0))
    assert opened(tmp_path).trials()[0].steps == 100


def test_results_that_break_off_are_told_again(tmp_path: Path) -> None:
    opened(tmp_path).add(SPACE, "preset", PRESET)
    opened(tmp_path).tell_seed(0, 0, result(1.0, 2.0))
    path = tmp_path / "journal.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))  # the returns are there, and not what says so
    study = opened(tmp_path)
    assert study.trials()[0].seeds == ()
    study.tell_seed(0, 0, result(1.0, 2.0))
    study.complete(0)
    assert study.trials()[0].value == 1.5


def test_values_of_the_whole_study_are_kept(tmp_path: Path) -> None:
    opened(tmp_path).keep("final-0-3", 1.5)
    assert opened(tmp_path).kept() == {"final-0-3": 1.5}


def test_optuna_reads_it(tmp_path: Path) -> None:
    import optuna

    study = opened(tmp_path)
    study.add(SPACE, "preset", PRESET)
    study.tell_seed(0, 0, result(1.0, 3.0))
    study.complete(0)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log")))
    read = optuna.load_study(study_name="tensor-optix", storage=storage)
    assert (read.best_value, read.best_params) == (2.0, PRESET)
    assert read.trials[0].intermediate_values == {0: 1.0, 1: 3.0}


@pytest.mark.parametrize("drawn", ["search", "random"])
def test_a_trial_is_in_the_file_as_a_whole(tmp_path: Path, drawn: str) -> None:
    study = opened(tmp_path)
    before = (tmp_path / "journal.log").read_bytes().count(b"\n")
    study.add(SPACE, drawn)
    assert (tmp_path / "journal.log").read_bytes().count(b"\n") == before + 1
