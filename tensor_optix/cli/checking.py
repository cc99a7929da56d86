"""`tensor-optix check`: what is wrong with an environment, and what it costs a step."""

import argparse
import json
import shlex

from tensor_optix.cli import exit_codes
from tensor_optix.cli.config import SETTINGS
from tensor_optix.cli.flags import given_by_flags
from tensor_optix.environment_check import check_environment
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.pairs import arguments_of
from tensor_optix.support.terminal import say

_REFUSED = "It cannot be trained as it is: the errors say what to change."


def check(args: argparse.Namespace) -> int:
    """Print what the check has found; the exit code says whether the environment can be trained."""
    given = given_by_flags(args, SETTINGS.values())
    if "env" not in given:
        raise InvalidArgumentError("check needs an environment: tensor-optix check CartPole-v1.")
    env_kwargs, wrappers = given.get("env_kwargs", []), given.get("wrappers", [])
    found = check_environment(
        given["env"],
        arguments_of(env_kwargs, "--env-kwargs"),
        wrappers,
        algorithm=given.get("algorithm", "auto"),
        framework=given.get("framework", "auto"),
        steps=args.steps,
    )
    if args.json:
        print(json.dumps(found.to_dict()))
    else:
        say(found)
        say(f"Train on it with: {_train(given['env'], env_kwargs, wrappers)}" if found.is_trainable else _REFUSED)
    return exit_codes.DONE if found.is_trainable else exit_codes.NOT_TRAINABLE


def _train(env: str, env_kwargs: list[str], wrappers: list[str]) -> str:
    flags = [*(("--env-kwargs", one) for one in env_kwargs), *(("--wrapper", one) for one in wrappers)]
    return shlex.join(["tensor-optix", "train", env, *(word for pair in flags for word in pair)])
