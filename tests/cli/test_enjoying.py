"""`enjoy`: the best policy is shown or recorded, and what cannot be drawn is named."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.cli import enjoying, main
from tensor_optix.cli.enjoying import episode, has_display, picture, rendered
from tensor_optix.errors import EnvironmentFailedError, InvalidArgumentError
from tensor_optix.film import Films
from tensor_optix.report.clip import clip_of


class Light(gym.Env):
    """An episode of three steps, in a colour that tells the last action."""

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 10}
    observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.steps, self.colour = 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps, self.colour = 0, 0
        return np.zeros(1, np.float32), {"action_mask": np.array([False, True, True])}

    def step(self, action: Any) -> Any:
        self.steps, self.colour = self.steps + 1, int(action)
        return np.zeros(1, np.float32), 1.5, False, self.steps == 3, {}

    def render(self) -> Any:
        return np.full((8, 8, 3), self.colour, np.uint8)


class Undrawable(Light):
    def render(self) -> Any:
        raise gym.error.DependencyNotInstalled("pygame is not installed, run `pip install pygame`")


def test_a_picture_that_needs_a_package_names_it_and_nothing_else() -> None:
    with pytest.raises(EnvironmentFailedError, match="cannot be drawn here: pygame is not installed") as found:
        picture(Undrawable())
    assert "MUJOCO" not in str(found.value)


class Policy:
    """Takes the lowest action that it may."""

    def __init__(self) -> None:
        self.begun = 0

    def begin_episode(self) -> None:
        self.begun += 1

    def predict(self, observation: Any, action_mask: Any = None) -> int:
        return 0 if action_mask is None else int(np.flatnonzero(action_mask)[0])


class Kept:
    def __init__(self) -> None:
        self.colours: list[int] = []

    def add(self, frame: np.ndarray) -> None:
        self.colours.append(int(frame[0, 0, 0]))

    def finish(self) -> None: ...


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run on `Light`, with a policy that needs no weights."""
    run = {
        "format": 3,
        "made_in": "python",
        "env": f"{__name__}:Light",
        "env_kwargs": {},
        "what": "",
        "evaluator": None,
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    monkeypatch.setattr(enjoying, "load_policy", lambda _, device: Policy())
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    return tmp_path


def enjoy(run_dir: Path, *more: str) -> int:
    return main(["enjoy", str(run_dir), "--allow-module", __name__, *more])


def test_an_episode_is_played_with_its_masks_and_filmed_from_its_first_picture_to_its_last() -> None:
    kept, policy = Kept(), Policy()
    rewards = list(episode(Light("rgb_array"), policy, 0, Films([kept])))  # type: ignore[arg-type]
    assert (rewards, policy.begun, kept.colours) == ([1.5, 1.5, 1.5], 1, [0, 1, 0, 0])


def test_an_episode_that_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enjoying, "MOST_STEPS", 2)
    assert len(list(episode(Light(), Policy(), 0, None))) == 2  # type: ignore[arg-type]


def test_without_a_display_it_records_where_the_report_finds_it(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enjoy(run_dir, "--episodes", "2") == 0
    printed = capsys.readouterr().out
    assert "Episode 2: return 4.5, 3 steps" in printed
    assert f"Recorded in {run_dir / 'clip.gif'}" in printed
    assert printed.endswith(f"tensor-optix report {run_dir}\n")
    assert clip_of(run_dir).startswith("data:image/gif;base64,R0lGOD")


def test_scripts_get_the_episodes_and_where_they_were_recorded(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enjoy(run_dir, "--episodes", "2", "--seed", "7", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "environment": f"{__name__}:Light",
        "episodes": [{"seed": seed, "total_return": 4.5, "steps": 3} for seed in (7, 8)],
        "recorded": str(run_dir / "clip.gif"),
        "next": {"report": f"tensor-optix report {run_dir}"},
    }


def test_a_recording_of_ones_own_is_kept_beside_the_clip(run_dir: Path) -> None:
    assert enjoy(run_dir, "--record", str(run_dir / "mine.gif")) == 0
    assert (run_dir / "mine.gif").exists()
    assert (run_dir / "clip.gif").exists()
    assert enjoy(run_dir, "--record", str(run_dir / "clip.gif")) == 0


def test_an_environment_that_draws_nothing_is_named(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Light, "render", lambda self: np.zeros((8, 8, 3), np.uint8))
    assert enjoy(run_dir) == 0
    said = "Light has drawn nothing: all pictures are of one colour."
    assert f"{said} Some environments do so where SDL_VIDEODRIVER is dummy: unset it.\n" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is a display")
def test_no_window_is_asked_for_where_nobody_looks(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER")
    assert enjoy(run_dir, "--record", str(run_dir / "mine.gif")) == 0
    assert os.environ["SDL_VIDEODRIVER"] == "offscreen,dummy"  # dummy alone keeps highway-env from drawing


def test_with_a_display_it_is_shown(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enjoying, "has_display", lambda *_: True)
    assert enjoy(run_dir) == 0
    assert not (run_dir / "clip.gif").exists()


def test_ctrl_c_ends_the_show_and_keeps_what_was_recorded(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Policy, observation: Any, action_mask: Any = None) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Policy, "predict", interrupted)
    assert enjoy(run_dir) == 130
    assert (run_dir / "clip.gif").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--episodes", "0"], "--episodes must be a whole number of at least 1"),
        (["--record", "x.avi"], "a .gif or an .mp4"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_bad_input_gets_one_sentence(
    run_dir: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enjoy(run_dir, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_an_environment_without_pictures_is_named() -> None:
    plain = SimpleNamespace(metadata={"render_modes": ["ansi"]}, close=lambda: None)
    with pytest.raises(InvalidArgumentError, match=r"Toy-v0 has no pictures to show: its render_modes are \['ansi'\]"):
        rendered("Toy-v0", lambda **_: plain, "rgb_array")  # type: ignore[arg-type, return-value]


def test_one_that_does_not_take_the_mode_is_told_to() -> None:
    def make(**more: Any) -> Any:
        if more:
            raise InvalidArgumentError("unexpected keyword argument 'render_mode'")
        return Light()

    with pytest.raises(InvalidArgumentError, match=r"let it take render_mode=None\. \(unexpected"):
        rendered("Toy-v0", make, "rgb_array")


@pytest.mark.parametrize("drawn", [None, "text", np.zeros((3, 3)), np.zeros((3, 3, 3))])
def test_what_is_no_picture_is_named(monkeypatch: pytest.MonkeyPatch, drawn: Any) -> None:
    monkeypatch.setattr(Light, "render", lambda self: drawn)
    with pytest.raises(EnvironmentFailedError, match=r"Light\.render\(\) must return a picture"):
        picture(Light())


def test_one_that_cannot_be_drawn_here_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Light) -> None:
        raise RuntimeError("no graphics")

    monkeypatch.setattr(Light, "render", fails)
    with pytest.raises(EnvironmentFailedError, match=r"Light cannot be drawn here: no graphics .*MUJOCO_GL=egl"):
        picture(Light())


def test_a_display_is_known_by_the_variables_of_the_system() -> None:
    assert not has_display({}, "linux")
    assert has_display({"DISPLAY": ":0"}, "linux")
    assert has_display({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    assert has_display({}, "darwin")
    assert not has_display({"DISPLAY": ":0", "SDL_VIDEODRIVER": "dummy"}, "linux")
