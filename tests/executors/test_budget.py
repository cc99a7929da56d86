import os
from pathlib import Path

import pytest

from tensor_optix.executors.budget import cores, over_budget


def test_the_quota_of_a_container_counts(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    everything = cores(tmp_path / "nothing")
    assert 1 <= everything <= (os.cpu_count() or 1)
    for text, expected in (("max 100000", everything), ("50000 100000", 1), ("broken", everything)):
        quota.write_text(text)
        assert cores(quota) == expected


@pytest.mark.parametrize(
    ("workers", "threads", "available", "said"),
    [(2, 1, 2, ""), (2, 2, 4, ""), (3, 1, 2, "3 workers"), (2, 2, 1, "there is 1"), (5, 3, 8, "2 would fit")],
)
def test_workers_and_threads_must_fit(workers: int, threads: int, available: int, said: str) -> None:
    sentence = over_budget(workers, threads, available)
    assert said in sentence
    assert bool(sentence) == bool(said)
