"""What to do where the operating system gives a process no more open files."""

import errno

try:
    import resource
except ImportError:  # Windows has no such limit to raise
    resource = None

USUAL = 4096
"""Open files that are enough for hundreds of environments in processes of their own."""


def advice(error: OSError, otherwise: str = "") -> str:
    """Return what to do about an error: to allow more open files where those have run out, else `otherwise`.

    Args:
        error: of the operating system.
        otherwise: what to do about any other error.
    """
    if error.errno not in (errno.EMFILE, errno.ENFILE):
        return otherwise
    allowed = "" if resource is None else f", {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} as it is"
    return f"Allow this process more open files{allowed}: `ulimit -n {USUAL}` before it begins."
