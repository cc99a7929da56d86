"""A run as data: what is written is read back, and what a file may ask for."""

import json
from pathlib import Path
from typing import Any

import pytest

import tensor_optix
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.errors import CheckpointCorruptError, CheckpointUnsafeError, HyperparamError, InvalidArgumentError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.runs import (
    MAX_HIDDEN_WEIGHTS,
    RUN_FORMAT,
    RunDescription,
)
from tests.fakes.weights import assert_equal_weights, weights_of

FULL: dict[str, Any] = {
    "env": "CartPole-v1",
    "algorithm": "ppo",
    "framework": "torch",
    "seed": 7,
    "net_arch": [8, 8],
    "window_size": 64,
    "n_envs": 4,
    "async_envs": True,
    "normalize_observations": True,
    "normalize_rewards": True,
    "hyperparams": {"learning_rate": 0.01, "n_epochs": 2},
    "tuning": False,
    "val_episodes": 3,
    "max_episodes": 9,
    "base_interval": 2,
    "max_interval": 50,
    "plateau_threshold": 4,
    "dormant_threshold": 10,
    "evolve": 2,
    "threads": 2,
}


def described(**changes: Any) -> RunDescription:
    return RunDescription(**(FULL | changes))


def content(**changes: Any) -> bytes:
    return json.dumps({"format": RUN_FORMAT, "version": "1.0", **FULL, **changes}).encode()


def parse(**changes: Any) -> RunDescription:
    return RunDescription.from_file(content(**changes), "run.json")


class TestFile:
    @pytest.mark.parametrize(
        "changes",
        [{}, {"net_arch": None, "max_episodes": None, "hyperparams": {}}, {"env_kwargs": {"a": [1, "x"], "b": None}}],
    )
    def test_what_is_written_is_read_back(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        run = described(**changes)
        run.write(tmp_path)
        assert RunDescription.read(tmp_path) == run

    def test_a_file_says_which_version_has_written_it(self, tmp_path: Path) -> None:
        described().write(tmp_path)
        written = json.loads((tmp_path / DESCRIPTION).read_text())
        assert (written["format"], written["version"]) == (RUN_FORMAT, tensor_optix.__version__)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"seed": -1}, "seed"),
            ({"n_envs": 0}, "n_envs"),
            ({"env": "CartPole v1"}, "env"),
            ({"hyperparams": {"learning_rat": 0.1}}, "Did you mean 'learning_rate'"),
        ],
    )
    def test_what_could_not_be_read_is_not_written(self, tmp_path: Path, changes: Any, named: str) -> None:
        with pytest.raises(InvalidArgumentError, match=named):
            described(**changes).write(tmp_path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "format_", [None, RUN_FORMAT - 1, RUN_FORMAT + 1, str(RUN_FORMAT), True, float(RUN_FORMAT)]
    )
    def test_another_format_is_named(self, format_: Any) -> None:
        with pytest.raises(CheckpointCorruptError, match=f"run.json has format {format_!r}, not {RUN_FORMAT}"):
            parse(format=format_)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"seed": 2**63}, "seed"),
            ({"seed": 1.5}, "seed"),
            ({"tuning": 1}, "tuning"),
            ({"net_arch": [0]}, "net_arch"),
            ({"net_arch": [1] * 65}, "net_arch"),
            ({"window_size": 2**24 + 1}, "window_size"),
            ({"n_envs": 4097}, "n_envs"),
            ({"threads": 257}, "threads"),
            ({"evolve": -1}, "evolve"),
            ({"algorithm": "../ppo"}, "algorithm"),
            ({"env": "a\n"}, "env"),
            ({"hyperparams": {"learning_rate": "fast"}}, "hyperparams"),
            ({"surprise": 1}, "surprise"),
            ({"wrappers": "gymnasium.wrappers:ClipReward"}, "wrappers"),
        ],
    )
    def test_a_value_out_of_its_bounds_is_named(self, changes: dict[str, Any], named: str) -> None:
        with pytest.raises(CheckpointCorruptError, match=f"run.json is not as train wrote it.*{named}"):
            parse(**changes)

    def test_a_field_that_is_missing_is_named(self) -> None:
        lacking = {name: value for name, value in json.loads(content()).items() if name != "threads"}
        with pytest.raises(CheckpointCorruptError, match="threads"):
            RunDescription.from_file(json.dumps(lacking).encode(), "run.json")

    @pytest.mark.parametrize("broken", [b"", b"[]", b"{", b"\xff", b"null"])
    def test_what_is_no_object_is_damaged(self, broken: bytes) -> None:
        with pytest.raises(CheckpointCorruptError, match=r"run\.json"):
            RunDescription.from_file(broken, "run.json")

    def test_a_run_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointCorruptError, match=DESCRIPTION):
            RunDescription.read(tmp_path)

    def test_a_link_in_its_place_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere.json").write_bytes(content())
        (tmp_path / DESCRIPTION).symlink_to(tmp_path / "elsewhere.json")
        with pytest.raises((CheckpointCorruptError, CheckpointUnsafeError), match=DESCRIPTION):
            RunDescription.read(tmp_path)

    def test_a_network_that_no_run_has_is_refused_before_it_is_built(self) -> None:
        assert parse(net_arch=[2**13, MAX_HIDDEN_WEIGHTS // 2**13]).net_arch is not None
        with pytest.raises(
            CheckpointCorruptError, match=f"at most {MAX_HIDDEN_WEIGHTS}. Build a larger agent in Python"
        ):
            parse(net_arch=[2**16, 2**16])

    def test_hyperparams_of_an_algorithm_of_another_version_are_left_to_the_factory(self) -> None:
        assert parse(algorithm="td3", hyperparams={"policy_delay": 2}).hyperparams == {"policy_delay": 2}


class TestModules:
    def test_a_file_does_not_choose_what_is_imported(self) -> None:
        with pytest.raises(
            InvalidArgumentError, match=r"import the module 'os'. If you trust it.*allow_modules=\['os'\]"
        ):
            parse(env="os:Env-v0")

    def test_the_user_may_allow_a_module_and_only_that_one(self) -> None:
        allowed = RunDescription.from_file(content(env="my_envs:Env-v0"), "run.json", ["my_envs"])
        assert allowed.env == "my_envs:Env-v0"
        place = RunDescription.from_file(content(env="my envs/my_env.py:MyEnv"), "run.json", ["my envs/my_env.py"])
        assert place.env == "my envs/my_env.py:MyEnv"
        with pytest.raises(InvalidArgumentError, match=r"--allow-module my_envs\.sub"):
            RunDescription.from_file(content(env="my_envs.sub:Env-v0"), "run.json", ["my_envs"])

    @pytest.mark.parametrize("name", ["RecordVideo:video_folder=x", "HumanRendering", "os:system", "no_such"])
    def test_a_wrapper_is_imported_only_where_it_is_allowed_or_harmless(self, name: str) -> None:
        code = "gymnasium.wrappers" if ":" not in name or "=" in name else name.partition(":")[0]
        text = name if code == "os" else f"{code}:{name}"
        with pytest.raises(InvalidArgumentError, match=f"--allow-module {code}"):
            parse(wrappers=[text])
        run = RunDescription.from_file(content(wrappers=[text]), "run.json", [code])
        assert run.modules == [code]

    def test_what_is_no_place_of_a_wrapper_is_damaged(self) -> None:
        with pytest.raises(CheckpointCorruptError, match="A wrapper is named module:Wrapper"):
            parse(wrappers=["minigrid.wrappers"])

    def test_all_that_a_run_imports_is_told_once(self) -> None:
        run = described(env="a.py:B", wrappers=["a.py:W", "c:W", "gymnasium.wrappers:TimeLimit:max_episode_steps=9"])
        assert run.modules == ["a.py", "c"]


class TestParts:
    def test_wrappers_are_around_every_environment_held_out_ones_included(self) -> None:
        limit = "gymnasium.wrappers:TimeLimit:max_episode_steps=3"
        for n_envs in (1, 2):
            run = described(wrappers=[limit], n_envs=n_envs, async_envs=False, normalize_rewards=False)
            pipeline = run.pipeline()
            pipeline.agent = run.agent()
            held_out = pipeline.validation_pipeline(2, 0)
            assert held_out is not None
            for found in (next(pipeline.episodes()), next(held_out.episodes())):
                assert max(episode.length for episode in found.completed_episodes()) == 3
            pipeline.teardown()

    def test_one_environment_is_stepped_alone_and_several_share_the_window(self) -> None:
        assert isinstance(described(n_envs=1).pipeline(), BatchPipeline)
        pipeline = described(n_envs=4, async_envs=False, normalize_observations=False).pipeline()
        assert isinstance(pipeline, VectorBatchPipeline)
        pipeline.agent = described().agent()
        pipeline.setup()
        window = next(pipeline.episodes())
        pipeline.teardown()
        assert (window.n_envs, window.length) == (4, 64)

    @pytest.mark.parametrize(
        ("name", "own"),
        [
            ("BatchPipeline", {"n_envs": 1, "async_envs": False, "isolate": True}),
            ("VectorBatchPipeline", {"n_envs": 2, "async_envs": True}),
        ],
    )
    def test_the_bounds_of_a_process_reach_the_pipeline(
        self, monkeypatch: pytest.MonkeyPatch, name: str, own: dict[str, Any]
    ) -> None:
        made: dict[str, Any] = {}
        monkeypatch.setattr(f"tensor_optix.runs.{name}", lambda *_, **arguments: made.update(arguments))
        described(**own, step_timeout=5.0, max_worker_rss=1 << 30).pipeline()
        assert (made["step_timeout"], made["max_worker_rss"]) == (5.0, 1 << 30)
        assert made["isolate" if name == "BatchPipeline" else "async_envs"] is True

    @pytest.mark.parametrize("n_envs", [1, 2])
    def test_arguments_reach_every_environment(self, n_envs: int) -> None:
        run = described(
            env_kwargs={"sutton_barto_reward": True}, n_envs=n_envs, async_envs=False, normalize_rewards=False
        )
        pipeline = run.pipeline()
        pipeline.agent = run.agent()
        window = next(pipeline.episodes())
        assert set(window.rewards.tolist()) <= {0.0, -1.0}
        held_out = pipeline.validation_pipeline(2, 0)
        assert held_out is not None
        assert next(held_out.episodes()).rewards.max() == 0.0
        pipeline.teardown()

    def test_the_same_number_is_the_same_agent_and_another_is_not(self) -> None:
        run = described()
        assert_equal_weights(weights_of(run.agent()), weights_of(run.agent()))
        assert_equal_weights(weights_of(run.agent(1)), weights_of(run.agent(1)))
        first, other = weights_of(run.agent()), weights_of(run.agent(1))
        assert any(not (array == other[name]).all() for name, array in first.items())

    def test_hyperparams_reach_the_agent(self) -> None:
        params = described().agent().get_hyperparams().params
        assert (params["learning_rate"], params["n_epochs"]) == (0.01, 2)
        with pytest.raises(HyperparamError, match="learning_rate"):
            described(hyperparams={"learning_rate": -1.0}).agent()
