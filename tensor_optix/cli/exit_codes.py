"""What a command ends with, for scripts."""

DONE = 0
NOT_VERIFIED = 1
USAGE = 2
NOTHING_LEARNED = 3
INTERRUPTED = 128 + 2
CLOSED_PIPE = 128 + 13
TERMINATED = 128 + 15
