"""Shared by all tests: one thread per process, so that two workers do not fight over two cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
