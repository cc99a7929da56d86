"""Mutations that know the format: what they make is mostly well-formed, and wrong in one place."""

import json
import random
from typing import Any

from tests.soak.targets import joined, split

HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(2**63), 0.5, -0.0, 1e308, "", "x", "\x00", "../../etc",
    "CОN", "evil:Env-v0", [], {}, [0], [[[]]], {"a": 1}, "F32", "F64", "I64", "BOOL", "BF16", [3, 4], [0, 48], [2**40],
    "1", [True], [-1], [1.5],
]  # fmt: skip
RAW = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"[" * 3000, b'{"a":' * 3000, b"\xff\xfe", b'"\\ud800"',
       b"9" * 5000, b"0x10", b"1.", b'"\x00"', b"nul"]  # fmt: skip


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        if isinstance(item, dict | list):
            _places(item, found)


def mutated_tree(text: bytes, rng: random.Random) -> bytes:
    """Return JSON with one value, key or entry changed, or replaced by what is no JSON."""
    tree = json.loads(text)
    places: list[tuple[Any, Any]] = []
    _places(tree, places)
    holder, key = rng.choice(places)
    what = rng.randrange(6)
    if what == 0:
        holder[key] = rng.choice(HOSTILE)
    elif what == 1:
        del holder[key]
    elif what == 2:
        other, other_key = rng.choice(places)
        holder[key] = json.loads(
            json.dumps(other.get(other_key) if isinstance(other, dict) else other[other_key : other_key + 1])
        )
    elif what == 3 and isinstance(holder, dict):
        holder[rng.choice(["", "x", "__proto__", str(key) + "s", "\u0430"])] = rng.choice(HOSTILE)
    elif what == 4:
        holder[key] = "@@"
        return json.dumps(tree).encode().replace(b'"@@"', rng.choice(RAW), 1)
    elif isinstance(holder, dict):
        return (
            json.dumps(tree)
            .encode()
            .replace(
                json.dumps(key).encode() + b": ",
                b'"%s": 1, ' % key.encode("ascii", "replace") + json.dumps(key).encode() + b": ",
                1,
            )
        )
    return json.dumps(tree).encode()


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with a few of them flipped, cut, repeated or inserted."""
    at = rng.randrange(len(data) + 1)
    what = rng.randrange(5)
    if what == 0:
        return data[:at]
    if what == 1:
        return data + rng.randbytes(rng.randrange(1, 64))
    if what == 2:
        return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]
    if what == 3:
        return data[:at] + data[at : at + 8] + data[at:]
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def mutated_json(text: bytes, rng: random.Random) -> bytes:
    """Return JSON text that was changed in its structure or in its bytes."""
    return mutated_tree(text, rng) if rng.random() < 0.7 else mutated_bytes(text, rng)


def mutated_file(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return a safetensors file with its length, header, values or data changed, or parts of another file in it."""
    what = rng.randrange(6)
    if what == 0:
        return mutated_bytes(data, rng)
    if what == 1:
        return rng.choice([0, 1, 7, len(data), 10**8, 2**63, 2**64 - 1]).to_bytes(8, "little") + data[8:]
    header, arrays = split(data)
    if what == 2:
        return joined(mutated_json(json.dumps(header).encode(), rng), arrays)
    if what == 3:
        values = mutated_json(header["__metadata__"]["tensor_optix"].encode(), rng)
        header["__metadata__"]["tensor_optix"] = values.decode("utf-8", "replace")
        return joined(header, arrays)
    if what == 4:
        return joined(header, split(other)[1] if rng.random() < 0.5 else mutated_bytes(arrays, rng))
    names = [name for name in header if name != "__metadata__"]
    one, two = rng.choice(names), rng.choice(names)
    part = rng.choice(["dtype", "shape", "data_offsets"])
    header[one][part], header[two][part] = header[two][part], header[one][part]
    if one == two:
        header[one][part] = rng.choice(HOSTILE)
    return joined(header, arrays)
