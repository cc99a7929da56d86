"""The list of a run's settings: what `train` takes as flags or from a file, and what `run.json` holds."""

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import msgspec

from tensor_optix._settings import Setting
from tensor_optix.algorithms._description import ALGORITHMS, CELLS, FRAMEWORKS
from tensor_optix.algorithms._devices import DEVICES
from tensor_optix.core.decisions.schedules import SCHEDULE_PATTERN

_ENV = r"^([A-Za-z0-9_.:/-]{1,256}|[\w .:/\\+@~()-]{1,512}\.py:[A-Za-z0-9_./-]{1,256})\Z"
"""An id, or the place of an environment in a file."""
_Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
_Choice: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}\Z")]
_Number: TypeAlias = int | Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
_Schedule: TypeAlias = Annotated[str, msgspec.Meta(pattern=SCHEDULE_PATTERN)]
_Seed: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**24)]
_Layers: TypeAlias = Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=2**16)]], msgspec.Meta(max_length=64)]
_Share: TypeAlias = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_PRESETS, _UNTIL_TRAINED = "the preset's", "until trained"
_ENV_HELP = (
    "Gymnasium id, e.g. CartPole-v1 or module:Id-v0; or a class, function or id in your own file: my_env.py:MyEnv"
)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What makes a run, apart from the code."""

    env: Annotated[str, msgspec.Meta(pattern=_ENV), Setting(_ENV_HELP, metavar="ENV", is_positional=True)]
    env_kwargs: Annotated[
        dict[_Name, object],
        Setting(
            "argument of the environment, as JSON, a Python literal with tuples such as {'shape': (64, 48)}, or text; "
            "repeatable",
            metavar="KEY=VALUE",
            is_in_every_file=False,
        ),
    ] = field(default_factory=dict)
    wrappers: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=1024)]],
        Setting(
            "put around the environment: module:Wrapper, file.py:Wrapper, or with arguments module:Wrapper:KEY=VALUE,"
            "KEY=VALUE; repeatable, the first is innermost",
            ("--wrapper",),
            metavar="WRAPPER",
            is_in_every_file=False,
        ),
    ] = field(default_factory=list)
    algorithm: Annotated[
        _Choice,
        Setting(
            "algorithm",
            ("--algo",),
            choices=("auto", *ALGORITHMS),
            otherwise="auto: by spaces and, SAC or PPO, by measured time",
        ),
    ]
    framework: Annotated[_Choice, Setting("framework", choices=("auto", *FRAMEWORKS), otherwise="auto")]
    device: Annotated[
        _Choice,
        Setting(
            "where the agent computes",
            choices=("auto", *DEVICES),
            otherwise="auto: cuda where the framework finds a GPU",
            is_bound=True,
            is_in_every_file=False,
        ),
    ] = "auto"
    seed: Annotated[
        _Seed, Setting("with --n-envs, --algo and --learn-beside: repeats a run exactly", otherwise="random, printed")
    ]
    net_arch: Annotated[_Layers | None, Setting("sizes of the hidden layers", metavar="SIZE", otherwise=_PRESETS)] = (
        None
    )
    cell: Annotated[
        _Choice,
        Setting("memory of recurrent PPO", choices=CELLS, is_in_every_file=False),
    ] = "lstm"
    window_size: Annotated[
        _Size,
        Setting("steps per window, over all environments", metavar="T", train=None, otherwise=_PRESETS),
    ] = 2048
    n_envs: Annotated[
        int,
        msgspec.Meta(ge=1, le=4096),
        Setting("parallel environments", metavar="N", train=None, otherwise="measured, printed"),
    ] = 1
    async_envs: Annotated[bool, Setting("with --n-envs: each in a process of its own")] = False
    isolate: Annotated[bool, Setting("run one environment, in a process of its own", is_in_every_file=False)] = False
    step_timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None,
        Setting(
            "seconds that a step may take, in a process of its own, before that is ended and begun anew",
            metavar="S",
            otherwise="20 times the slowest of the first 100, at least 30",
            is_bound=True,
            is_in_every_file=False,
        ),
    ] = None
    max_worker_rss: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=2**62)] | None,
        Setting(
            "bytes of memory from which the process of an environment is begun anew between two episodes",
            metavar="BYTES",
            otherwise="no bound",
            is_bound=True,
            is_in_every_file=False,
        ),
    ] = None
    normalize_observations: Annotated[
        bool, Setting("normalise observations by their running statistics", train=None, otherwise=_PRESETS)
    ] = False
    normalize_rewards: Annotated[
        bool, Setting("normalise rewards by the running scale of returns", train=None, otherwise=_PRESETS)
    ] = False
    hyperparams: Annotated[
        dict[_Name, _Number | _Schedule],
        Setting(
            "set a hyper-parameter; lin_NUMBER falls to 0 over the run; repeatable",
            ("--hp",),
            metavar="KEY=VALUE",
            otherwise=_PRESETS,
        ),
    ] = field(default_factory=dict)
    """Those that were set; the others take their defaults."""
    tuning: Annotated[bool, Setting("tune the hyper-parameters while training")] = True
    val_episodes: Annotated[_Size, Setting("greedy episodes per evaluation", metavar="N")] = 5
    validation_share: Annotated[
        _Share | None,
        Setting(
            "share of all steps that validation and the last tests may take; 1 = no bound",
            metavar="P",
            train=0.15,
            is_in_every_file=False,
        ),
    ] = None
    validate_beside: Annotated[
        bool,
        Setting(
            "play validation in a process of its own while the next window is collected; its verdict comes a window "
            "later",
            is_in_every_file=False,
        ),
    ] = False
    learn_beside: Annotated[
        _Choice,
        Setting(
            "DQN and SAC: update in a thread while the next window is collected with the weights from before",
            choices=("auto", "on", "off"),
            otherwise="auto: where that is faster",
            is_in_every_file=False,
        ),
    ] = "off"
    max_episodes: Annotated[
        _Size | None,
        Setting(
            "windows at most; the second name means the same, not episodes",
            ("--max-windows", "--max-episodes"),
            metavar="N",
            otherwise=_UNTIL_TRAINED,
            is_bound=True,
        ),
    ] = None
    max_steps: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=2**62)] | None,
        Setting(
            "training steps, ending with a window",
            ("--max-steps", "--total-steps"),
            metavar="N",
            otherwise=_UNTIL_TRAINED,
            is_bound=True,
            is_in_every_file=False,
        ),
    ] = None
    target_score: Annotated[
        _Number | None,
        Setting(
            "end when a confirmed score reaches it",
            metavar="S",
            otherwise=_UNTIL_TRAINED,
            is_bound=True,
            is_in_every_file=False,
        ),
    ] = None
    base_interval: Annotated[
        _Size, Setting("windows between evaluations while it learns", metavar="N", train=None, otherwise=_PRESETS)
    ] = 1
    max_interval: Annotated[
        _Size,
        Setting(
            "windows between evaluations at most; as --dormant-threshold where it is given",
            metavar="N",
            train=None,
            otherwise="twice the base interval",
        ),
    ] = 100
    plateau_threshold: Annotated[_Size, Setting("evaluations until COOLING", metavar="N")] = 5
    dormant_threshold: Annotated[
        _Size,
        Setting(
            "evaluations until DORMANT at least; where it is given, exactly, whatever the scale of the task",
            metavar="N",
        ),
    ] = 20
    scaled_patience: Annotated[
        bool,
        Setting(
            "let the patience grow with the scale of the task; the thresholds are its floors",
            train=None,
            otherwise="unless a threshold is given",
            is_in_every_file=False,
        ),
    ] = False
    escape: Annotated[
        bool, Setting("try to escape before it is called trained", train=True, is_in_every_file=False)
    ] = False
    evolve: Annotated[
        int,
        msgspec.Meta(ge=0, le=2**16),
        Setting("train N mutated variants of the best policy", metavar="N"),
    ] = 0
    threads: Annotated[
        int,
        msgspec.Meta(ge=1, le=256),
        Setting("threads of the framework and of numpy; auto: those that are fastest", metavar="N", word="auto"),
    ] = 1
    track: Annotated[
        Annotated[str, msgspec.Meta(max_length=64)],
        Setting(
            "send the scalars to these, with commas between them: tensorboard, mlflow, wandb, trackio",
            metavar="NAMES",
            is_in_every_file=False,
        ),
    ] = ""
    track_names: Annotated[
        _Choice, Setting("whose names the scalars have", choices=("sb3", "cleanrl"), is_in_every_file=False)
    ] = "sb3"
