import contextlib
import itertools
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from examples.market import server as price_server
from examples.market.prices import Market
from examples.market.server import PriceServer, encoded
from tests.helpers import until

FRAMES = [encoded(tick) for tick in itertools.islice(Market(3).items(), 400)]


def served(url: str, request: Any) -> Iterator[bytes]:
    """Frames until the connection breaks off."""
    with connect(url, compression=None, close_timeout=0.1) as connection:
        connection.send(msgspec.json.encode(request), text=True)
        while True:
            try:
                yield connection.recv(decode=False)
            except ConnectionClosed:
                return


def test_it_serves_all_ticks_from_the_first_or_any_other() -> None:
    with PriceServer(Market(3)) as server:
        assert list(itertools.islice(served(server.url, {"after": None}), 150)) == FRAMES[:150]
        assert list(itertools.islice(served(server.url, {"after": 99}), 300)) == FRAMES[100:400]
        assert list(itertools.islice(served(server.url, {"after": 9}), 5)) == FRAMES[10:15]


def test_what_breaks_off_goes_on_where_it_was() -> None:
    got: list[bytes] = []
    with PriceServer(Market(3), drop=0.05, seed=1) as server:
        while len(got) < 400:
            got += served(server.url, {"after": len(got) - 1})
        assert server.drops == server.connections > 5
    assert got[:400] == FRAMES


def test_what_is_no_longer_kept_is_left_out() -> None:
    with PriceServer(Market(3), keep=50) as server:
        assert next(served(server.url, {"after": 199})) == FRAMES[200]
        older = [msgspec.json.decode(frame)["sequence"] for frame in itertools.islice(served(server.url, {}), 300)]
    assert older[0] > 0
    assert all(later > earlier for earlier, later in itertools.pairwise(older))


def test_ticks_come_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    now, sent = [50.0], []

    class Passing(threading.Event):
        """Waiting takes no time but on the clock of the test."""

        def wait(self, timeout: float | None = None) -> bool:
            now[0] += max(timeout or 0.0, 0.0)
            sent.append(now[0])
            return self.is_set()

    parts = SimpleNamespace(Event=Passing, Lock=threading.Lock, Thread=threading.Thread)
    monkeypatch.setattr(price_server, "threading", parts)
    monkeypatch.setattr(price_server, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with PriceServer(Market(3), rate=200.0) as server:
        first, *_, last = (msgspec.json.decode(f)["sequence"] for f in itertools.islice(served(server.url, {}), 20))
        assert last - first == 19
        assert sent[:20] == pytest.approx([50.0 + (first + n) / 200 for n in range(20)])


@pytest.mark.parametrize("request_", [{"after": "x"}, {"after": -2}, {"after": 10**12}, 3])
def test_a_request_that_is_none_is_refused(request_: Any) -> None:
    with PriceServer(Market(3)) as server, connect(server.url, compression=None) as connection:
        connection.send(msgspec.json.encode(request_), text=True)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


def test_it_ends_with_clients_that_listen_or_do_not() -> None:
    before = threading.active_count()
    with contextlib.ExitStack() as clients:
        with PriceServer(Market(3)) as server:
            silent = clients.enter_context(connect(server.url, close_timeout=0.1))
            listening = served(server.url, {})
            assert next(listening) == FRAMES[0]
        with pytest.raises(ConnectionClosed):
            silent.recv()
        assert len(list(listening)) < 10_000
    until(lambda: threading.active_count() <= before)


@pytest.mark.parametrize("options", [{"rate": 0.0}, {"rate": -1.0}, {"drop": 1.5}, {"drop": float("nan")}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="rate must be positive and drop within"):
        PriceServer(Market(3), **options)
