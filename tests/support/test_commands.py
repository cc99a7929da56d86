"""Commands that are printed may be copied into a shell."""

import shlex

import pytest

from tensor_optix.support.commands import confirm_command, file_name_of, named_run


@pytest.mark.parametrize(
    ("run_dir", "module", "words"),
    [
        ("runs/a", "", ["runs/a"]),
        ("my runs/a", "my envs/my_env.py", ["my runs/a", "--allow-module", "my envs/my_env.py"]),
        ("$(rm)", "my_envs", ["$(rm)", "--allow-module", "my_envs"]),
        ("a", "b, c.py\nmy_envs", ["a", "--allow-module", "b, c.py", "--allow-module", "my_envs"]),
    ],
)
def test_a_run_is_named_with_what_it_imports(run_dir: str, module: str, words: list[str]) -> None:
    assert shlex.split(named_run(run_dir, module)) == words
    assert shlex.split(confirm_command(run_dir, module)) == ["tensor-optix", "evaluate", *words, "--confirm"]


def test_the_name_of_an_environment_becomes_that_of_a_folder() -> None:
    assert file_name_of("my_envs.py:My/Env-v0") == "my_envs-py-My-Env-v0"
