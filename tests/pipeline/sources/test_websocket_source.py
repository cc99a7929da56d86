import datetime
import itertools
import logging
import random
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gymnasium import spaces
from websockets.sync.connection import Connection

from tensor_optix.errors import FeedFatalError, InvalidArgumentError, MissingDependencyError
from tensor_optix.pipeline._items import HEARTBEAT
from tensor_optix.pipeline.sources.websocket_source import WebSocketSource, redacted
from tests.fakes.feeds import Counting, balanced, feed_threads, live, open_and_leave, rows
from tests.feed_server import END, MUTE, RESET, STALL, FeedServer, Numbered, frame
from tests.helpers import until

SECRETS = ("hunter2", "s3cr3t", "user17")


def encoded(n: int, **more: Any) -> bytes:
    return frame(msgspec.json.encode({"observation": [n, n / 2], "reward": n, **more}))


def script(*connections: Any) -> Any:
    """A script that plays the n-th list on the n-th connection, the last one on all others."""

    def play(number: int, greeting: Any) -> Iterator[Any]:
        yield from connections[min(number, len(connections) - 1)]

    return play


def some(start: int, stop: int, **more: Any) -> list[bytes]:
    return [encoded(n, **more) for n in range(start, stop)]


def first(server: FeedServer, *, n: int = 4, count: int = 1, options: Any = None, **source: Any) -> Any:
    """The first windows, and the pipeline, torn down."""
    pipeline = live(WebSocketSource(server.url, **source), n=n, **(options or {}))
    windows = list(itertools.islice(pipeline.episodes(), count))
    pipeline.teardown()
    return windows, pipeline


def test_items_come_and_actions_go() -> None:
    with FeedServer(script([*some(0, 6), MUTE])) as server:
        pipeline = live(WebSocketSource(server.url))
        (window,) = itertools.islice(pipeline.episodes(), 1)
        assert rows([window]) == [(n, n + 1, n + 1) for n in range(4)]
        assert window.observations.dtype == np.float32
        until(lambda: len(server.received) == 4)
        assert server.received == [{"action": n} for n in range(4)]
        pipeline.teardown()


def test_msgpack_arrays_and_lists_of_items() -> None:
    def packed(numbers: Any) -> bytes:
        return frame(msgspec.msgpack.encode([{"observation": [n, n / 2], "reward": float(n)} for n in numbers]), 2)

    with FeedServer(script([packed(range(3)), packed(range(3, 9)), MUTE])) as server:
        windows, _ = first(server, format="msgpack", count=2)
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(8)]


def test_a_schema_of_the_user() -> None:
    class Tick(msgspec.Struct, forbid_unknown_fields=True):
        price: float
        kind: str = "tick"

    def to_item(tick: Tick) -> Any:
        if tick.kind == "beat":
            return HEARTBEAT
        return None if tick.price < 0 else (np.array([tick.price, 0.0], np.float32), tick.price, False, False, {})

    frames = [frame(msgspec.json.encode({"price": n})) for n in range(5)]
    frames.insert(2, frame(b'{"price": 1, "kind": "beat"}'))
    frames.insert(3, frame(b'{"price": -1}'))
    with FeedServer(script([*frames, MUTE])) as server:
        windows, _ = first(server, schema=Tick, to_item=to_item, sends_actions=False)
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(4)]
    with pytest.raises(InvalidArgumentError, match="to_item"):
        WebSocketSource("ws://localhost", schema=Tick)


def test_it_subscribes_and_asks_for_what_it_has_not_seen() -> None:
    with FeedServer(Numbered(40, 10), greets=True) as server:
        windows, _ = first(server, n=10, count=3, is_replayable=True)
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(30)]
    assert windows[-1].metadata["reconnects"] > 0
    with FeedServer(script([*some(0, 6), MUTE]), greets=True) as server:
        first(server, subscribe=['{"subscribe":"prices"}'])


@pytest.mark.parametrize("end", [END, RESET, frame(b"\x03\xe8", 8), frame(b"\x03\xf3", 8)])
def test_a_connection_that_ends_is_made_again(end: Any) -> None:
    with FeedServer(script([*some(0, 3), 0.05, end, 0.05], [*some(10, 20), MUTE])) as server:
        (window,), _ = first(server)
    assert rows([window])[:3] == [(0, 1, 1), (1, 2, 2), (10, 11, 11)]
    assert window.metadata["reconnects"] == 1
    assert balanced(window.metadata)


POISON = [
    b"",
    b"{",
    b"null",
    b"[]x",
    b"3",
    b'"text"',
    b"{}",
    b'{"observation":[1,2]',
    b'{"observation":[1,null]}',
    b'{"observation":["a","b"]}',
    b'{"observation":[1,[2]]}',
    b'{"observation":{"a":1}}',
    b'{"observation":[1e999,0]}',
    b'{"observation":[NaN,0]}',
    b'{"observation":[' + b"9" * 400 + b",0]}",
    b'{"observation":[1,2],"reward":"1"}',
    b'{"observation":[1,2],"reward":1e308}',
    b'{"observation":[1,2],"terminated":1}',
    b'{"observation":[1,2],"info":[]}',
    b'{"observation":[1,2],"info":{"action_mask":"x"}}',
    b'{"observation":[1,2],"sequence":1.5}',
    b'{"observation":[1,2],"sequence":-1}',
    b'{"observation":[1,2],"sequence":99999999999999999999}',
    b'{"observation":[1,2,3]}',
    b'{"observation":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b"\xff\xfe",
]


@pytest.mark.parametrize("poison", POISON, ids=lambda poison: repr(poison[:30]))
def test_poison_is_counted(poison: bytes) -> None:
    numbers = {"sequence": 1} if b"sequence" in poison else {}
    good = [encoded(n, **({"sequence": n} if numbers else {})) for n in range(3)]
    rest = [encoded(n, **({"sequence": n} if numbers else {})) for n in range(3, 9)]
    with FeedServer(script([*good, frame(poison, 2), *rest, MUTE])) as server:
        (window,), _ = first(server)
    assert window.metadata["quarantined"] == 1
    assert window.metadata["reconnects"] == 0
    assert np.isfinite(window.observations).all()
    assert balanced(window.metadata)


def test_empty_lists_are_nothing() -> None:
    with FeedServer(script([frame(b"[]"), *some(0, 6), MUTE])) as server:
        (window,), _ = first(server)
    assert window.metadata["received"] in (5, 6)
    assert window.metadata["quarantined"] == 0


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_random_bytes_never_get_out(count: int) -> None:
    rng = random.Random(0)

    def play(number: int, greeting: Any) -> Iterator[Any]:
        yield from some(0, 3)
        base = msgspec.json.encode({"observation": [1.0, 2.0], "reward": 0.5, "info": {"a": [1]}})
        for _ in range(count):
            raw = bytearray(base)
            for _ in range(rng.randrange(4)):
                raw[rng.randrange(len(raw))] = rng.randrange(256)
            yield frame(bytes(raw), 2)
        yield from some(3, 203)  # however many of them were learned, they end a last window
        yield MUTE

    with FeedServer(play) as server:
        pipeline = live(WebSocketSource(server.url, sends_actions=False), n=50)
        for window in pipeline.episodes():
            assert np.isfinite(window.observations).all()
            assert np.isfinite(window.rewards).all()
            assert balanced(window.metadata)
            if window.metadata["received"] >= count:
                break
        pipeline.teardown()
    assert window.metadata["quarantined"] > count / 4


def test_a_frame_over_the_cap_is_refused_before_it_is_decoded() -> None:
    with FeedServer(script([*some(0, 3), frame(b" " * 3000), 1.0, END], [*some(10, 20), MUTE])) as server:
        (window,), _ = first(server, max_frame_bytes=2000)
    assert window.metadata["quarantined"] == 1
    assert window.metadata["reconnects"] == 1


def test_a_frame_that_never_ends_is_silence() -> None:
    endless = bytes([0x81, 127]) + (900_000).to_bytes(8, "big") + b'{"obs'
    with FeedServer(script([*some(0, 3), endless, STALL], [*some(10, 20), MUTE])) as server:
        (window,), _ = first(server, silence_timeout=1.0)
    assert window.metadata["reconnects"] >= 1  # on a busy machine what follows may seem silent, too


# --- silence ---


def test_a_half_open_connection_is_left_when_all_waits_together_are_as_long_as_silence_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits, receive = [], Connection.recv

    def recv(self: Connection, timeout: float, decode: bool) -> Any:
        try:
            return receive(self, timeout, decode)
        except TimeoutError:
            waits.append(timeout)
            raise

    monkeypatch.setattr(Connection, "recv", recv)
    with FeedServer(script([*some(0, 3), STALL], [*some(10, 20), MUTE])) as server:
        (window,), _ = first(server, silence_timeout=0.3)
    assert sum(waits) >= 0.3
    assert rows([window])[2] == (10, 11, 11)


def test_a_pause_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses, ping = [], Connection.ping

    def answered(self: Connection) -> Any:
        pong = ping(self)
        pauses.append(pong.wait(60))  # a busy machine answers late
        return pong

    monkeypatch.setattr(Connection, "ping", answered)
    with FeedServer(script([*some(0, 3), MUTE])) as server:
        pipeline = live(WebSocketSource(server.url, silence_timeout=0.1), n=10)
        waiting = threading.Thread(target=lambda: list(pipeline.episodes()), daemon=True)
        waiting.start()
        until(lambda: len(pauses) >= 6)
        assert all(pauses)
        assert server.connections == 1
        pipeline.teardown()
        waiting.join(60)
        assert not waiting.is_alive()


def test_time_in_which_nobody_reads_is_not_silence() -> None:
    class Slow(Counting):
        def act(self, observation: Any) -> Any:
            if len(self.seen) == 2:
                time.sleep(1.5)
            return super().act(observation)

    with FeedServer(script([*some(0, 200), MUTE])) as server:
        options = {"agent": Slow(), "buffer_size": 5}
        windows, _ = first(server, n=100, options=options, silence_timeout=1.0)
    assert windows[0].metadata["reconnects"] == 0
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(100)]


def test_heartbeats_are_no_items() -> None:
    beats = [frame(b'{"heartbeat":1}')] * 5
    with FeedServer(script([*beats, *some(0, 2), *beats, *some(2, 7), MUTE])) as server:
        (window,), _ = first(server)
    assert rows([window]) == [(n, n + 1, n + 1) for n in range(4)]


# --- refusals ---


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_let_in_is_told(status: int) -> None:
    with FeedServer(script([]), status=status) as server, pytest.raises(FeedFatalError, match=f"status {status}"):
        first(server)


def test_a_close_code_that_says_so_is_fatal_too() -> None:
    with FeedServer(script([frame(b"\x0b\xb8", 8), 0.3])) as server, pytest.raises(FeedFatalError, match="code 3000"):
        first(server)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_other_refusals_pass(status: int) -> None:
    with FeedServer(script([*some(0, 6), MUTE]), status=status) as server:

        def relent() -> None:
            until(lambda: server.connections >= 3)
            server.status = None

        threading.Thread(target=relent, daemon=True).start()
        (window,), _ = first(server)
        assert server.connections > 2
    assert rows([window])[0] == (0, 1, 1)


def test_a_server_that_is_not_there_yet(caplog: pytest.LogCaptureFixture) -> None:
    with FeedServer(script([*some(0, 6), MUTE])) as server:
        port = server.port
    source = WebSocketSource(f"ws://127.0.0.1:{port}/feed")
    pipeline = live(source)
    thread = threading.Thread(target=lambda: list(pipeline.episodes()), daemon=True)
    thread.start()
    until(lambda: any("cannot be opened" in record.message for record in caplog.records))
    assert thread.is_alive()
    pipeline.teardown()
    thread.join(60)
    assert not thread.is_alive()


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=365_00))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def test_tls_is_checked(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with FeedServer(script([*some(0, 6), MUTE]), ssl=context) as server:
        with pytest.raises(FeedFatalError, match="cannot be trusted"):
            first(server)
        trusting = ssl.create_default_context(cafile=str(cert))
        pipeline = live(WebSocketSource(f"wss://localhost:{server.port}/", ssl=trusting))
        assert rows([next(pipeline.episodes())])[0] == (0, 1, 1)
        pipeline.teardown()


# --- secrets ---


def test_secrets_are_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    texts: list[str] = []
    with caplog.at_level(logging.DEBUG), FeedServer(script([*some(0, 6), END]), status=401) as server:
        url = f"ws://user17:hunter2@127.0.0.1:{server.port}/feed?token=s3cr3t"
        source = WebSocketSource(url, headers={"Authorization": "Bearer s3cr3t"})
        texts += [repr(source), redacted(url)]
        for status in (401, 503):
            server.status = status
            pipeline = live(source)
            if status == 401:
                with pytest.raises(FeedFatalError) as caught:
                    next(pipeline.episodes())
                error: BaseException | None = caught.value
                while error is not None:
                    texts.append(str(error))
                    error = error.__cause__
            else:
                open_and_leave(pipeline)
                until(lambda: any("cannot be opened" in record.message for record in caplog.records))
            pipeline.teardown()
        server.status = None
        first_pipeline = live(source)
        next(first_pipeline.episodes())
        first_pipeline.teardown()
    texts += [record.getMessage() for record in caplog.records]
    assert any("401" in text for text in texts)
    assert not [text for text in texts for secret in SECRETS if secret in text]
    assert redacted(url) == f"ws://127.0.0.1:{server.port}/feed"


@pytest.mark.parametrize("url", ["http://user17:hunter2@x/", "ws://", "user17:hunter2", "ws://x:port/hunter2", ""])
def test_what_is_no_address_is_not_quoted(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="url must be") as caught:
        WebSocketSource(url)
    assert not any(secret in str(caught.value) for secret in SECRETS)


@pytest.mark.parametrize(
    "options", [{"format": "xml"}, {"heartbeat": 0.0}, {"silence_timeout": -1.0}, {"open_timeout": float("inf")}]
)
def test_bad_arguments(options: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        WebSocketSource("ws://localhost", **options)


def test_websockets_is_missed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "websockets.sync.client", None)
    with pytest.raises(MissingDependencyError, match=r"tensor-optix-core\[live\]"):
        WebSocketSource("ws://localhost")


def test_silence_is_twice_a_heartbeat_and_at_least_five_seconds() -> None:
    assert WebSocketSource("ws://localhost")._silence == 5.0
    assert WebSocketSource("ws://localhost", heartbeat=20.0)._silence == 40.0


# --- actions ---


def test_actions_are_checked_against_the_space() -> None:
    with FeedServer(script([*some(0, 6), MUTE])) as server:
        source = WebSocketSource(server.url, action_space=spaces.Box(0.0, 4.0, (1,)))
        pipeline = live(source, agent=Counting(lambda n: np.full(1, [3.0, np.nan][n % 2])), safe_action=[1.0])
        window = next(pipeline.episodes())
        until(lambda: len(server.received) == 4)
        pipeline.teardown()
    assert server.received == [{"action": [3.0]}, {"action": [1.0]}] * 2
    assert window.metadata["safe_actions"] == 2


def test_a_server_that_reads_nothing_does_not_hold_the_agent() -> None:
    with FeedServer(script([*some(0, 400), STALL], [*some(0, 3000), MUTE])) as server:
        agent = Counting(lambda n: np.ones(5000))  # 20 kB each: the kernel's buffers are soon full
        pipeline = live(WebSocketSource(server.url, silence_timeout=0.2), n=500, agent=agent)
        window = next(pipeline.episodes())
        assert window.metadata["reconnects"] >= 1
        pipeline.teardown()


# --- teardown ---


def close_in_random_states(count: int) -> None:
    rng = random.Random(0)
    before = {t.ident for t in threading.enumerate()}
    for n in range(count):
        kind = n % 5
        plays: list[Any] = [[MUTE], [STALL], [*some(0, 500), MUTE], [END], [*some(0, 5), 0.002, RESET]]
        with FeedServer(script(plays[kind]), handshakes=rng.random() < 0.8) as server:
            pipeline = live(WebSocketSource(server.url, silence_timeout=1.0), buffer_size=20)
            open_and_leave(pipeline)
            time.sleep(rng.random() * 0.02)
            pipeline.teardown()
            assert not feed_threads()
    until(lambda: all(thread.ident in before for thread in threading.enumerate()))


@pytest.mark.usefixtures("patient_reader")
@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_teardown_leaves_no_thread_and_no_socket(count: int, caplog: pytest.LogCaptureFixture) -> None:
    before = open_sockets()
    close_in_random_states(count)
    assert not [record for record in caplog.records if "does not end" in record.message]
    assert open_sockets() <= before


def open_sockets() -> int:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(entry.readlink().name)
        except OSError:
            continue
    return sum(name.startswith("socket:") for name in links)
