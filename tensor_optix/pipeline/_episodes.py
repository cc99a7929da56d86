"""Seeds of the episodes of a seeded pipeline."""

import hashlib


def episode_seed(root: int, number: int) -> int:
    """Return the seed of the reset that begins episode `number` (from 0): `root` itself first, then hashes of both.

    Each episode has a seed of its own, so that a run that goes on after a crash begins the next one as if it had
    never stopped.
    """
    if number == 0:
        return root
    return int.from_bytes(hashlib.blake2b(f"{root}/{number}".encode(), digest_size=4).digest(), "big") >> 1
