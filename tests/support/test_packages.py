from importlib.metadata import version

from tensor_optix.support.packages import OURS, version_of


def test_what_is_installed_has_a_version_and_what_is_not_has_none() -> None:
    assert version_of("numpy") == version("numpy")
    assert version_of("no-such-package-at-all") is None
    assert any(version_of(name) for name in OURS)
