"""`python -m benchmarks._processor_time ARGUMENTS`: the command line, whose report tells processor time.

The times of the parts of a run are those of this process and its threads, which other work on the machine stretches
little. Without waiting they are the wall time of a quiet machine.
"""

import sys
import time
from typing import Any
from unittest import mock

from tensor_optix.cli import main
from tensor_optix.core.loop import run
from tensor_optix.core.loop.run_progress import RunProgress


def _timed(_: Any) -> RunProgress:
    return RunProgress(time.process_time)


if __name__ == "__main__":
    with mock.patch.object(run, "RunProgress", _timed):
        sys.exit(main())
