"""The job of the executors' suite: it sleeps, and needs no framework."""

import time

from tensor_optix.executors.payload import Payload


def nap(item: Payload, context: object) -> Payload:
    """Sleep for `values` seconds, and return the tensors."""
    time.sleep(item.values)
    return Payload(None, item.tensors)
