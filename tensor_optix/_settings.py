"""The settings of a run are one list: the fields of a frozen dataclass, each with its type, bounds and meaning.

The flags of the command line, the schema of `run.json`, what a file of settings may hold, and the table in
docs/command-line.md are derived from it, so that none of them can have a name that the others do not know.
"""

import dataclasses
import functools
import types
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from tensor_optix.core.decisions.schedules import SCHEDULE_PATTERN
from tensor_optix.errors import InvalidArgumentError

_NO_SCHEDULE = f"`str` matching regex {SCHEDULE_PATTERN!r}"
"""What msgspec expected where text is no schedule."""


class _SameAsField:
    def __repr__(self) -> str:
        return "the default of the field"


SAME = _SameAsField()


@dataclass(frozen=True)
class Setting:
    """What is told of a field in its annotation, `Annotated[int, Setting("steps per window")]`."""

    help: str
    """Its meaning, in words that follow "it means"."""
    flags: tuple[str, ...] = ()
    """Of the command line; empty = one of the field's name."""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    word: str = ""
    """That `train` takes in place of a value, to find one; a run has the value."""
    train: object = SAME
    """What `train` takes where it is not set, if that is not the field's default; None = see `otherwise`."""
    otherwise: str = ""
    """What holds where it is not set, in words; empty where a value says it."""
    is_positional: bool = False
    is_bound: bool = False
    """True if `resume` may change it: what ends the run, and where it computes."""
    is_in_every_file: bool = True
    """False if a `run.json` of an earlier version may lack it; it then means the default of the field."""


@dataclass(frozen=True, kw_only=True)
class NamedSetting:
    """A setting with its name, its type, and its default."""

    name: str
    type: Any
    """With its bounds, as `msgspec` reads it."""
    default: Any
    """What `train` takes where it is not set; None where that depends on others."""
    about: Setting

    @property
    def flags(self) -> tuple[str, ...]:
        """Of the command line."""
        return self.about.flags or (f"--{self.name.replace('_', '-')}",)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Further names that a file may use: those of the flags."""
        names = (flag.removeprefix("--").replace("-", "_") for flag in self.flags)
        return tuple(name for name in names if name != self.name)

    @property
    def kind(self) -> Any:
        """The plain type: `bool`, `int`, `float`, `str`, `dict`, or `list[int]` or `list[str]`."""
        return _plain(self.type)

    def checked(self, value: object, where: str) -> Any:
        """Return a value that a file gives.

        Args:
            value: made of JSON's types.
            where: the file, for the message.

        Raises:
            InvalidArgumentError: it is of another type, out of its bounds, or none of the choices.
        """
        if self.about.word and value == self.about.word:
            return value
        if self.kind is int and isinstance(value, float) and value.is_integer():  # 1e6
            value = int(value)
        try:
            if self.about.choices and value not in self.about.choices:
                raise msgspec.ValidationError(f"Expected one of {', '.join(self.about.choices)}")
            return msgspec.convert(value, self.type, strict=True)
        except msgspec.ValidationError as error:
            said = str(error).replace(_NO_SCHEDULE, "a number, or a schedule such as `lin_3e-4`")
            raise InvalidArgumentError(
                f"{where}: {self.name} cannot be {value!r}: {said}. It means: {self.about.help}."
            ) from error


@functools.cache
def settings_of(cls: type) -> dict[str, NamedSetting]:
    """Return the settings of a dataclass by the names of its fields, in their order."""
    hints = get_type_hints(cls, include_extras=True)
    found: dict[str, NamedSetting] = {}
    for field in dataclasses.fields(cls):
        _, *told = get_args(hints[field.name])
        about = next(one for one in told if isinstance(one, Setting))
        default = (_default(field) if about.train is SAME else about.train) if _has_default(field) else None
        found[field.name] = NamedSetting(name=field.name, type=hints[field.name], default=default, about=about)
    return found


def file_schema(cls: type, **more: object) -> Any:
    """Return the closed `msgspec` type of a file that holds every setting.

    Args:
        cls: the dataclass.
        **more: further fields of the file, and their types.
    """
    settings = settings_of(cls)
    fields: list[Any] = list(more.items())
    for field in dataclasses.fields(cls):
        one = settings[field.name]
        fields.append((one.name, one.type) if one.about.is_in_every_file else (one.name, one.type, _default(field)))
    return msgspec.defstruct(cls.__name__, fields, kw_only=True, forbid_unknown_fields=True)


def _has_default(field: dataclasses.Field[object]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _default(field: dataclasses.Field[object]) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(hint: object) -> object:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _plain(args[0])
    if origin in (Union, types.UnionType):
        kinds = {_plain(arg) for arg in args if arg is not types.NoneType}
        return float if kinds == {int, float} else kinds.pop()
    if origin is list:
        return list[_plain(args[0])]
    return dict if origin is dict else hint
