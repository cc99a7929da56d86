"""Items in a buffer, by the stream that they came in."""

from tensor_optix.pipeline.feed.waiting import Waiting


def test_what_waits_is_ahead_where_it_came_in_the_same_stream() -> None:
    waiting = Waiting()
    waiting.put()
    waiting.put()
    waiting.take()
    assert waiting.is_ahead_in_stream
    waiting.take()
    assert not waiting.is_ahead_in_stream
    assert (waiting.count, waiting.in_stream) == (0, 2)


def test_the_first_of_a_new_stream_did_not_have_to_wait() -> None:
    waiting = Waiting()
    waiting.put()
    waiting.take()
    for _ in range(3):
        waiting.reopen()
    waiting.put()
    assert not waiting.is_ahead_in_stream
    waiting.take()
    waiting.put()
    assert waiting.is_ahead_in_stream
    assert (waiting.count, waiting.in_stream) == (1, 2)


def test_a_stream_that_has_ended_was_ahead_all_the_same() -> None:
    waiting = Waiting()
    for _ in range(3):
        waiting.put()
    waiting.reopen()
    waiting.put()
    seen = []
    for _ in range(4):
        waiting.take()
        seen.append(waiting.is_ahead_in_stream)
    assert seen == [True, True, False, False]
    assert waiting.in_stream == 1
