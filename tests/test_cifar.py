"""CIFAR-10's two versions, the python one without unpickling. Small batches in the published formats, written here."""

import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vestige import assets
from vestige.image import cifar, load
from vestige.studies import configure
from vestige.types import InputError, MissingError

RECORDS = 4


@pytest.fixture
def small(monkeypatch):
    """Batches of 4 records instead of 10,000: 2 of each class in 5 batches."""
    monkeypatch.setattr(cifar, "RECORDS", RECORDS)


def batches(seed=0):
    """Images (20, 3, 32, 32) and labels (20,), two of each class, as five batches of four."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (20, 3, 32, 32)).astype(np.uint8)
    labels = rng.permutation(np.repeat(np.arange(10), 2))
    return [(images[at : at + RECORDS], labels[at : at + RECORDS]) for at in range(0, 20, RECORDS)]


def text(content):
    """A string as Python 2 pickled it."""
    raw = content if isinstance(content, bytes) else content.encode()
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<I", len(raw)) + raw


def as_python_2_pickled(images, labels, by_columns=False):
    """One batch as the archive holds it: protocol 2, written by Python 2's cPickle with a numpy array."""
    data = images.reshape(len(images), -1)
    content = data.T.tobytes() if by_columns else data.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85" + text("b") + b"\x87Rq\x03"
        + b"(K\x01M" + struct.pack("<H", len(data)) + b"M\x00\x0c\x86cnumpy\ndtype\nq\x04" + text("u1")
        + b"K\x00K\x01\x87Rq\x05(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + (b"\x88" if by_columns else b"\x89") + text(content) + b"tb"
    )  # fmt: skip
    names = b"".join(text(f"{number}.png") for number in range(len(labels)))
    return (
        b"\x80\x02}q\x00(" + text("batch_label") + b"q\x06" + text("training batch 1 of 5")
        + text("labels") + b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
        + text("data") + array + text("filenames") + b"](" + names + b"eu."
    )  # fmt: skip


def write_binary(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for number, (images, labels) in enumerate(batches(), 1):
        records = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(len(images), -1)], 1)
        (folder / f"data_batch_{number}.bin").write_bytes(records.tobytes())
    return folder


def write_python(folder, monkeypatch, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for number, (images, labels) in enumerate(batches(), 1):
        raw = as_python_2_pickled(images, labels, **options)
        (folder / f"data_batch_{number}").write_bytes(raw)
        monkeypatch.setitem(cifar.MD5, f"data_batch_{number}", hashlib.md5(raw).hexdigest())
    return folder


def read(folder):
    return load(assets.locate(str(folder)))


def test_both_versions_give_the_same_images(small, tmp_path, monkeypatch):
    binary = read(write_binary(tmp_path / "bin"))
    images, labels = (np.concatenate(part) for part in zip(*batches(), strict=True))
    assert np.array_equal(binary.x.numpy(), images)
    assert binary.y.tolist() == labels.tolist()
    assert binary.ids[:2] == ("cifar10/0", "cifar10/1")
    for by_columns in (False, True):
        python = read(write_python(tmp_path / "py", monkeypatch, by_columns=by_columns))
        assert python.ids == binary.ids
        assert torch.equal(python.x, binary.x)
        assert torch.equal(python.y, binary.y)


def test_what_python_2_wrote_is_what_unpickling_would_give():
    """The batches of this test are honest pickles: Python's own reader agrees with ours on them."""
    images, labels = batches()[0]
    raw = as_python_2_pickled(images, labels)
    ours, theirs = cifar.parse(raw, Path("x")), pickle.loads(raw, encoding="bytes")
    assert ours.keys() == theirs.keys()
    assert np.array_equal(ours[b"data"], theirs[b"data"])
    assert {key: ours[key] for key in ours if key != b"data"} == {key: theirs[key] for key in theirs if key != b"data"}


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


GOOD = as_python_2_pickled(*batches()[0])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pickle.dumps(Evil(), protocol=2), r"the name 'posix system'"),
        (pickle.dumps({b"data": b"x"}, protocol=2), r"the name '_codecs encode'"),
        (b"\x80\x02cos\nsystem\nU\x04trueq\x00\x85R.", r"the name 'os system'"),
        (b"cposix\nsystem\n(S'true'\ntR.", r"the name 'posix system'"),
        (pickle.dumps({"data": 1}, protocol=4), r"opcode PROTO at byte 0"),
        (b"\x80\x02}(U\x04data" + b"\x82\x01s.", r"opcode EXT1"),
        (b"\x80\x02cnumpy\nndarray\nK\x05\x85R.", r"is not read"),
        (b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.", r"a call with \(b'O8', 0, 1\)"),
        (GOOD.replace(b"U\x01|N", b"U\x01<N"), r"a number type with"),
        (GOOD[:200], r"is not read"),
        (GOOD + b"more", r"something follows its end"),
        (b"\x80\x02](K\x01e.", r"list where dict was expected"),
        (b"\x80\x02]q\x00h\x00a.", r"list where dict"),
        (b"", r"is not read"),
    ],
)
def test_other_pickles_are_refused_and_nothing_runs(raw, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        cifar.parse(raw, Path("data_batch_1"))
    assert not list(tmp_path.iterdir())


def test_an_incomplete_folder_names_what_is_missing(tmp_path):
    (write_binary(tmp_path / "bin") / "data_batch_3.bin").unlink()
    with pytest.raises(InputError, match=r"incomplete CIFAR-10: data_batch_3\.bin is missing, expected data_batch_1"):
        assets.locate(str(tmp_path / "bin"))
    with pytest.raises(InputError, match="incomplete CIFAR-10"):
        configure("image-target", data=str(tmp_path / "bin"))


def test_a_batch_cut_short_or_changed(small, tmp_path, monkeypatch):
    path = write_binary(tmp_path / "bin") / "data_batch_2.bin"
    raw = path.read_bytes()
    path.write_bytes(raw[:-9])
    with pytest.raises(InputError, match=r"data_batch_2\.bin is truncated or damaged: 12292 bytes expected .* 12283"):
        read(tmp_path / "bin")
    path.write_bytes(b"\x0b" + raw[1:])
    with pytest.raises(InputError, match=r"must lie in 0…9, found 0 to 11|must lie in 0…9, found \d to 11"):
        read(tmp_path / "bin")
    path.write_bytes(bytes([(raw[0] + 1) % 10]) + raw[1:])
    with pytest.raises(InputError, match="hold 2 images of each class"):
        read(tmp_path / "bin")
    path = write_python(tmp_path / "py", monkeypatch) / "data_batch_5"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=r"data_batch_5 is not the published batch: MD5 \w{32} expected, found"):
        read(tmp_path / "py")


def test_full_size_is_expected(tmp_path):
    """Without the small records of this test, such a folder is refused as truncated."""
    with pytest.raises(InputError, match=r"30730000 bytes expected \(10000 records\), found 12292"):
        read(write_binary(tmp_path / "bin"))


def test_the_known_name_looks_in_the_data_folder(small, tmp_path, monkeypatch):
    monkeypatch.setenv("VESTIGE_DATA", str(tmp_path))
    with pytest.raises(MissingError, match=r"get it with: .*curl .*cifar-10-binary\.tar\.gz"):
        assets.locate("cifar10")
    write_python(tmp_path / "cifar-10-batches-py", monkeypatch)
    assert assets.locate("cifar10").format == "cifar-py"
    write_binary(tmp_path / "cifar-10-batches-bin")
    assert assets.locate("cifar10").format == "cifar-bin"
    for source in ("cifar10", str(tmp_path / "cifar-10-batches-bin")):
        assert configure("image-target", data=source).data.fraction == 0.05, "Table 3"
    monkeypatch.delenv("VESTIGE_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert assets.data_folder() == tmp_path / "share" / "vestige"


def test_an_empty_folder_hides_no_complete_one(small, tmp_path, monkeypatch):
    monkeypatch.setenv("VESTIGE_DATA", str(tmp_path))
    (tmp_path / "cifar-10-batches-bin").mkdir()
    write_python(tmp_path / "cifar-10-batches-py", monkeypatch)
    assert assets.locate("cifar10").format == "cifar-py"


@pytest.mark.slow
def test_twenty_real_images(small, tmp_path, monkeypatch):
    """The 20 labelled CIFAR-10 images of the package foolbox go through both formats unchanged."""
    found = assets.importlib.util.find_spec("foolbox")
    folder = Path(found.origin).parent / "data" if found else Path(os.environ.get("FOOLBOX_DATA", "none"))
    files = sorted(folder.glob("cifar10_*.png"))
    if len(files) != 20:
        pytest.skip("the package foolbox is not installed, and FOOLBOX_DATA names no folder of its images")
    labels = np.array([int(file.stem.rpartition("_")[2]) for file in files])
    images = np.stack([np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1) for file in files])
    monkeypatch.setattr(cifar, "RECORDS", 20)
    (tmp_path / "one.bin").write_bytes(
        np.concatenate([labels[:, None].astype(np.uint8), images.reshape(20, -1)], 1).tobytes()
    )
    raw = as_python_2_pickled(images, labels)
    (tmp_path / "one").write_bytes(raw)
    monkeypatch.setitem(cifar.MD5, "one", hashlib.md5(raw).hexdigest())
    for found_images, found_labels in (cifar.binary(tmp_path / "one.bin"), cifar.python(tmp_path / "one")):
        assert np.array_equal(found_images, images)
        assert found_labels.tolist() == labels.tolist()
