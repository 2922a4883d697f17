"""Where files go, and who may read them."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp import paths
from chatapp.errors import UserError

XDG = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own for each test, with none of the variables set and the usual umask."""
    for variable in (*paths.VARIABLES, *XDG):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    umask = os.umask(0o022)
    yield tmp_path
    os.umask(umask)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_xdg_variables_move_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in XDG:
        monkeypatch.setenv(variable, str(tmp_path / variable))
    assert paths.config_file() == tmp_path / "XDG_CONFIG_HOME/swachat/config.yaml"
    assert paths.user_themes_dir() == tmp_path / "XDG_CONFIG_HOME/swachat/themes"
    assert paths.store_file() == tmp_path / "XDG_DATA_HOME/swachat/swachat.db"
    assert paths.models_dir() == tmp_path / "XDG_DATA_HOME/swachat/models"
    assert paths.state_dir() == tmp_path / "XDG_STATE_HOME/swachat"
    assert paths.cache_dir() == tmp_path / "XDG_CACHE_HOME/swachat"


def test_our_own_variables_go_before_the_xdg_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*XDG, *paths.VARIABLES):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    assert paths.config_file() == tmp_path / "SWACHAT_CONFIG"
    assert paths.store_file().parent == tmp_path / "SWACHAT_DATA_DIR"
    assert paths.models_dir().parent == tmp_path / "SWACHAT_DATA_DIR"
    assert paths.state_dir() == tmp_path / "SWACHAT_STATE_DIR"
    assert paths.cache_dir() == tmp_path / "SWACHAT_CACHE_DIR"


def test_an_empty_variable_counts_as_unset(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = paths.state_dir()
    monkeypatch.setenv("SWACHAT_STATE_DIR", "")
    assert paths.state_dir() == default
    assert default.is_relative_to(home)


def test_a_tilde_and_a_relative_path_become_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWACHAT_CONFIG", "~/mine.yaml")
    assert paths.config_file() == home / "mine.yaml"
    monkeypatch.chdir(home)
    monkeypatch.setenv("SWACHAT_CONFIG", "mine.yaml")
    assert paths.config_file() == home / "mine.yaml"


@pytest.mark.parametrize("folder", [paths.models_dir, paths.state_dir, paths.cache_dir])
def test_a_new_folder_and_its_new_parents_are_for_the_owner_only(home: Path, folder: Callable[[], Path]) -> None:
    made = folder()
    assert made.is_dir()
    while made != home:
        assert mode(made) == 0o700, made
        made = made.parent


def test_the_folder_of_the_database_exists_but_not_the_file() -> None:
    store = paths.store_file()
    assert mode(store.parent) == 0o700
    assert not store.exists()


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    assert paths.private_folder(shared / "inner") == shared / "inner"
    assert (mode(shared), mode(shared / "inner")) == (0o755, 0o700)
    paths.private_folder(shared)
    assert mode(shared) == 0o755


def test_what_is_only_read_is_not_made(home: Path) -> None:
    paths.config_file()
    paths.user_themes_dir()
    assert list(home.iterdir()) == []


def test_a_file_in_the_way_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below"):
        monkeypatch.setenv("SWACHAT_STATE_DIR", str(place))
        with pytest.raises(UserError, match="cannot be created") as caught:
            paths.state_dir()
        assert str(place) in caught.value.what
        assert caught.value.todo


def test_the_shipped_data_is_where_the_themes_are() -> None:
    data = paths.data_dir()
    assert (data / "config.example.yaml").is_file()
    assert any((data / "themes").glob("*.yaml"))
