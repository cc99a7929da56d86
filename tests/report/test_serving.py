"""The page, served to this machine alone."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.report import rendering
from tensor_optix.report.serving import HOST, PageServer
from tests.fakes.run_folders import write_run


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageServer]:
    monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")
    with PageServer(write_run(tmp_path / "run"), 0) as made:
        thread = made.serve_in_thread()
        yield made
        made.shutdown()
        thread.join()


def ask(server: PageServer, path: str, host: str = HOST) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=60)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_page_reloads_and_the_version_changes_with_the_run(server: PageServer) -> None:
    status, text = ask(server, "/")
    assert (status, 'data-reloads="yes"' in text) == (200, True)
    before = ask(server, "/version")
    assert ask(server, "/version") == before
    with (server.run_dir / "events.jsonl").open("a") as file:
        file.write('{"event": "state", "window_id": 11, "env_steps": 1100}\n')
    assert ask(server, "/version") != before


def test_nothing_else_is_served_and_nobody_elses_name(server: PageServer) -> None:
    assert ask(server, "/history.jsonl")[0] == 404
    assert ask(server, "/../run.json")[0] == 404
    assert ask(server, "/", host="evil.example")[0] == 403


def test_a_taken_port_is_an_error_that_says_so(server: PageServer, tmp_path: Path) -> None:
    port = server.server_address[1]
    with pytest.raises(InvalidArgumentError, match=f"--port {port} cannot be served"):
        PageServer(tmp_path, port)
    with pytest.raises(InvalidArgumentError, match="--port 70000"):
        PageServer(tmp_path, 70_000)
