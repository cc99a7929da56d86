"""The exit codes are those that scripts know."""

import signal

from tensor_optix.cli import exit_codes


def test_they_differ_and_signals_have_theirs() -> None:
    codes = {name: value for name, value in vars(exit_codes).items() if name.isupper()}
    refusals = {"NOT_VERIFIED", "NOT_TRAINABLE"}  # of two commands, with one meaning: no
    assert len(set(codes.values())) == len(codes) - 1
    assert {codes[name] for name in refusals} == {1}
    assert (exit_codes.DONE, exit_codes.NOT_VERIFIED, exit_codes.USAGE, exit_codes.NOTHING_LEARNED) == (0, 1, 2, 3)
    assert exit_codes.INTERRUPTED == 128 + signal.SIGINT
    assert exit_codes.TERMINATED == 128 + signal.SIGTERM
    assert exit_codes.CLOSED_PIPE == 128 + signal.SIGPIPE
