"""YAML as its version 1.2 has it: `1e-3` is a number, `on` and `no` are text; no tags, no aliases, no key twice."""

import re
from collections.abc import Iterator
from typing import Any

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.optional import require

_WHOLE = re.compile(r"[-+]?[0-9]{1,30}\Z")
_NUMBER = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?\Z")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def read_yaml(content: bytes, where: str) -> Any:
    """Return what a YAML document says, made of JSON's types.

    Args:
        content: of the file.
        where: its name, for messages.

    Raises:
        InvalidArgumentError: it is no YAML, has a tag or an alias, a key twice, or one that is no text.
        MissingDependencyError: PyYAML is not installed.
    """
    yaml = require("yaml", "A file of settings in YAML", "yaml")
    try:
        events = iter(yaml.parse(content, Loader=yaml.SafeLoader))
        found = [_value(event, events) for event in events if _is_value(event)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{where!r} cannot be read as YAML: {' '.join(str(error).split())}.") from error
    if len(found) > 1:
        raise InvalidArgumentError(f"{where!r} holds {len(found)} documents, but settings are one.")
    return found[0] if found else {}


def _is_value(event: Any) -> bool:
    """Return False for an event that only frames values."""
    return type(event).__name__ in ("ScalarEvent", "MappingStartEvent", "SequenceStartEvent", "AliasEvent")


def _value(event: Any, events: Iterator[Any]) -> Any:
    """Return the value that begins with an event; its other events are taken from those that follow."""
    line = f"line {event.start_mark.line + 1}"
    kind = type(event).__name__
    if kind == "AliasEvent" or event.anchor is not None:
        raise ValueError(f"{line} has an anchor or an alias, which settings do not need")
    if event.tag is not None:
        raise ValueError(f"{line} has the tag {event.tag!r}, and settings have no types of their own")
    if kind == "ScalarEvent":
        return _scalar(event.value) if event.implicit[0] else event.value
    if kind == "SequenceStartEvent":
        return [_value(item, events) for item in _until("SequenceEndEvent", events)]
    found: dict[str, Any] = {}
    for key_event in _until("MappingEndEvent", events):
        key = key_event.value if type(key_event).__name__ == "ScalarEvent" else None
        if key is None or key in found:
            raise ValueError(f"{line} begins a table with a key that is {'there twice' if key in found else 'no text'}")
        found[key] = _value(next(events), events)
    return found


def _until(end: str, events: Iterator[Any]) -> Iterator[Any]:
    for event in events:
        if type(event).__name__ == end:
            return
        yield event


def _scalar(text: str) -> Any:
    """Return what a plain text means."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _WHOLE.match(text):
        return int(text)
    return float(text) if _NUMBER.match(text) else text
