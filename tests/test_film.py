"""Films of bounded length and size."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tensor_optix.errors import CheckpointStorageError, InvalidArgumentError
from tensor_optix.film import Films, Gif, Mp4, clip_at, film_at


def frames(n: int, height: int = 40, width: int = 60) -> list[np.ndarray]:
    """Frames whose brightness tells their number."""
    return [np.full((height, width, 3), 2 * number % 256, np.uint8) for number in range(n)]


def shown(path: Path) -> tuple[list[int], tuple[int, int], int]:
    """The frames of a GIF by their brightness, its size, and the milliseconds of a frame."""
    found = []
    with Image.open(path) as image:
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            found.append(int(np.asarray(image.convert("L"))[0, 0]))
        return found, image.size, image.info["duration"]


def test_a_gif_has_each_frame_at_the_pace_of_the_environment(tmp_path: Path) -> None:
    film = film_at(tmp_path / "new" / "x.gif", 25.0)
    for frame in frames(5):
        film.add(frame)
    film.finish()
    assert shown(tmp_path / "new" / "x.gif") == ([0, 2, 4, 6, 8], (60, 40), 40)


def test_of_more_frames_every_second_is_kept_and_shown_twice_as_long(tmp_path: Path) -> None:
    film = Gif(tmp_path / "x.gif", 50.0, frames=4, width=30)
    for frame in frames(7):
        film.add(frame)
    film.finish()
    assert shown(tmp_path / "x.gif") == ([0, 4, 8, 12], (30, 20), 40)


def test_a_clip_is_as_small_as_it_may_be(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    film = Gif(tmp_path / "x.gif", 30.0, max_bytes=20_000)
    for _ in range(16):
        film.add(noise.integers(0, 256, (64, 64, 3), np.uint8))
    film.finish()
    assert (tmp_path / "x.gif").stat().st_size <= 20_000
    clip = clip_at(tmp_path / "clip.gif", 30.0)
    clip.add(np.zeros((400, 800, 3), np.uint8))
    clip.finish()
    assert shown(tmp_path / "clip.gif")[1] == (320, 160)


def test_an_mp4_is_written_while_it_is_played(tmp_path: Path) -> None:
    film = film_at(tmp_path / "x.mp4", 25.0)
    for frame in [*frames(10, 41, 61), np.zeros((3, 3, 3), np.uint8)]:  # odd sizes, and one of another size
        film.add(frame)
    film.finish()
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))
    assert count == 10


def test_nothing_to_show_writes_nothing(tmp_path: Path) -> None:
    Films([Gif(tmp_path / "x.gif", 30.0), Mp4(tmp_path / "x.mp4", 30.0)]).finish()
    assert not list(tmp_path.iterdir())


def test_pictures_of_one_colour_show_nothing_those_that_change_it_do() -> None:
    films, red = Films([]), np.full((2, 2, 3), [200, 0, 0], np.uint8)
    films.add(red)
    films.add(red.copy())
    assert films.are_blank
    films.add(red // 2)
    assert not films.are_blank


def test_another_ending_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"a \.gif or an \.mp4, but got 'x\.avi'"):
        film_at(Path("x.avi"), 30.0)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    film = film_at(tmp_path / "file" / "x.gif", 30.0)
    film.add(frames(1)[0])
    with pytest.raises(CheckpointStorageError, match="file"):
        film.finish()
