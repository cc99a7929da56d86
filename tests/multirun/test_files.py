"""Files on their way from one folder to another."""

from pathlib import Path

from tensor_optix.multirun.files import digest, files_in, write_files


def test_a_folder_comes_out_as_it_went_in(tmp_path: Path) -> None:
    files = {"agent.npy": b"1", "agent/layers/0": b"", "agent/layers/1": b"\0\n"}
    write_files(tmp_path / "there", files)
    assert files_in(tmp_path / "there") == files


def test_the_digest_tells_names_lengths_and_content_apart() -> None:
    others = [{"a": b"12"}, {"b": b"12"}, {"a": b"1", "b": b"2"}, {"a": b"13"}, {}]
    assert len({digest(one) for one in others}) == len(others)
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})
