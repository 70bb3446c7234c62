import json
import threading

import numpy as np
import pytest

from vestige import store as rooms
from vestige.config import StudyConfig, build
from vestige.store import Store, open_folder
from vestige.types import InputError

CONFIG = StudyConfig()


def save(store, name="abc", value=1.0):
    store.save("models", name, {"seed": 0}, {"x": np.full(3, value)}, {"seconds": 1})


def test_what_is_saved_comes_back(tmp_path):
    store = Store(tmp_path)
    save(store)
    entry = store.load("models", "abc")
    assert entry.arrays["x"].tolist() == [1, 1, 1]
    assert entry.facts["seed"] == 0
    assert not list((tmp_path / "models").glob(".*")), "no draft is left"
    draft = tmp_path / "models" / ".abc.0"
    draft.mkdir()
    (draft / "result.json").write_text("{}")
    assert store.facts("models") == [entry.facts], "a draft that a kill left behind is no result"


def test_a_step_that_fails_halfway_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        store.save("models", "abc", {"bad": float("nan")}, {"x": np.ones(1)}, {})
    assert not store.has("models", "abc")
    assert not list((tmp_path / "models").iterdir())


def test_a_full_disk_is_said_and_loses_nothing(tmp_path, monkeypatch):
    store = Store(tmp_path)
    save(store)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rooms, "write_json", full)
    with pytest.raises(InputError, match=r"No space left on device.*same command resumes"):
        save(store, "def")
    assert store.load("models", "abc").arrays["x"].tolist() == [1, 1, 1]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["abc"]


def test_many_writers_of_one_step(tmp_path):
    store = Store(tmp_path)
    threads = [threading.Thread(target=save, args=(store,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["abc"]
    assert store.load("models", "abc").arrays["x"].tolist() == [1, 1, 1]


def test_many_adopt_one_step_and_one_of_them_copies_it(tmp_path, monkeypatch):
    theirs, ours = Store(tmp_path / "theirs"), Store(tmp_path / "ours")
    save(theirs)
    all_there = threading.Barrier(4, timeout=10)
    load = Store.load

    def load_together(*arguments):
        all_there.wait()  # each has seen by now that the step is not there yet
        return load(*arguments)

    copied = []
    monkeypatch.setattr(Store, "load", load_together)
    threads = [threading.Thread(target=lambda: copied.append(ours.adopt(theirs, "models", "abc"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert sorted(copied) == [False, False, False, True]
    assert [path.name for path in ours.folder("models", "abc").parent.iterdir()] == ["abc"]
    assert ours.load("models", "abc").facts == theirs.load("models", "abc").facts


def test_damage_is_noticed(tmp_path):
    store = Store(tmp_path)
    save(store)
    path = tmp_path / "models" / "abc" / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is not the file that was written there"):
        store.load("models", "abc")


def test_another_configuration_is_refused_and_nothing_is_touched(tmp_path):
    save(open_folder(tmp_path / "a", CONFIG, "1", "digest"))
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*.*")}
    other = build([{"train": {"steps": 7}}])
    for arguments in ((other, "1", "digest"), (CONFIG, "2", "digest"), (CONFIG, "1", "other file")):
        with pytest.raises(
            InputError, match=r"another configuration:\n  (config.train.steps: 1000 there, 7|source|version)"
        ):
            open_folder(tmp_path / "a", *arguments)
    assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*.*")} == before
    open_folder(tmp_path / "a", CONFIG, "1", "digest")


def test_a_folder_without_results_may_change_its_configuration(tmp_path):
    """The first attempt failed on a bad data file; the same command with the mended file must work."""
    open_folder(tmp_path / "a", CONFIG, "1", "bad file")
    open_folder(tmp_path / "a", CONFIG, "1", "mended file")
    assert json.loads((tmp_path / "a" / "vestige.json").read_text())["source"] == "mended file"


def test_a_marker_of_another_version(tmp_path):
    open_folder(tmp_path / "a", CONFIG, "1", "digest")
    marker = tmp_path / "a" / "vestige.json"
    marker.write_text(marker.read_text().replace('"lr_x"', '"lr_old"'))
    with pytest.raises(
        InputError, match=r"not made by this version of vestige.*\n.*recover\.lr_old.*did you mean 'recover\.lr_"
    ):
        rooms.open_existing(tmp_path / "a")


def test_fresh_removes_only_what_vestige_wrote(tmp_path):
    root = tmp_path / "a"
    save(open_folder(root, CONFIG, "1", "digest"))
    (root / "notes.txt").write_text("mine")
    store = open_folder(root, build([{"seed": 1}]), "1", "digest", fresh=True)
    assert not store.has("models", "abc")
    assert (root / "notes.txt").read_text() == "mine"
    assert json.loads((root / "vestige.json").read_text())["config"]["seed"] == 1


def test_folders_that_are_not_ours(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(InputError, match="not empty and vestige did not make it"):
            open_folder(tmp_path / "thesis", CONFIG, "1", "digest", fresh=fresh)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder"):
        open_folder(tmp_path / "file", CONFIG, "1", "digest")
    with pytest.raises(InputError, match="is not a folder"):
        open_folder(tmp_path / "file" / "under", CONFIG, "1", "digest")


@pytest.mark.parametrize("left", [".vestige.json.1a2b3c4d", ".vestige-1a2b3c4d"])
def test_a_kill_before_the_first_file_was_whole_does_not_close_the_folder(tmp_path, left):
    (tmp_path / left).write_text("{")
    assert open_folder(tmp_path, CONFIG, "1", "data").root == tmp_path
    assert (tmp_path / rooms.MARKER).is_file()


def test_no_room_or_no_permission(tmp_path, monkeypatch):
    usage = rooms.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(rooms.shutil, "disk_usage", lambda path: usage._replace(free=5 * 2**20))
    with pytest.raises(InputError, match="only 5 MiB are free"):
        open_folder(tmp_path / "a", CONFIG, "1", "digest")
    monkeypatch.undo()

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(rooms.Path, "write_bytes", refuse)
    with pytest.raises(InputError, match=r"cannot write to .*Read-only file system; choose another --out"):
        open_folder(tmp_path / "a", CONFIG, "1", "digest")
    assert not (tmp_path / "a").exists()
