import pytest


@pytest.fixture
def goal():
    def record(row, goal, measured, holds):
        print(row, "|", goal, "|", measured, "|", holds)

    return record
