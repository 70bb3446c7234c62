"""The emoji reader, on a small package of the same layout, and on the real one where it is installed."""

import json

import numpy as np
import pytest
from PIL import Image

from vestige import assets
from vestige.image import emoji, load
from vestige.studies import configure
from vestige.types import InputError, MissingError


def package(root, count=26):
    """A package of two classes of `count` emoji; the first of People & Body has two skin variations."""
    pictures = root / "img" / "google" / "64"
    pictures.mkdir(parents=True)
    table = []
    for kind, category, subcategory in (("p", "People & Body", "person-role"), ("o", "Objects", "tool")):
        for number in range(count):
            record = {"image": f"{kind}{number}.png", "category": category, "subcategory": subcategory}
            Image.new("RGBA", (64, 64), (9 * number, 200, 100 * (kind == "p"), 255)).save(pictures / record["image"])
            if (kind, number) == ("p", 0):
                record["skin_variations"] = {tone: {"image": f"p0-{tone}.png"} for tone in "ab"}
                for place, tone in enumerate("ab"):
                    Image.new("RGBA", (64, 64), (7, 7, 7 + place, 255)).save(pictures / f"p0-{tone}.png")
            table.append(record)
    table.append({"image": "rare.png", "category": "Component", "subcategory": "none"})
    (root / "emoji.json").write_text(json.dumps(table))
    return root


def read(folder):
    return load(assets.locate(str(folder)))


def test_classes_families_and_ids(tmp_path):
    samples = read(package(tmp_path / "emoji"))
    assert samples.x.shape == (54, 3, 32, 32)
    assert samples.classes == 2, "a class of one emoji is left out"
    where = {name: place for place, name in enumerate(samples.ids)}
    family = [samples.family[where[name]] for name in ("emoji/p0", "emoji/p0-a", "emoji/p0-b", "emoji/p1", "emoji/o3")]
    assert family == ["p0", "p0", "p0", "", ""]
    assert samples.take(["emoji/o3", "emoji/p0-a"]).family == ("", "p0")
    assert "p0" not in samples.without(["emoji/p0", "emoji/p0-a", "emoji/p0-b"]).family


def test_laid_over_black_then_averaged_by_area(tmp_path):
    """Half-transparent (200, 100, 0) over black is (100, 50, 0); a 2×2 area half clear averages to half of that."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 1::2] = (200, 100, 0, 128)
    pixels[:2] = (255, 255, 255, 0)
    root = package(tmp_path / "emoji")
    Image.fromarray(pixels, "RGBA").save(root / "img" / "google" / "64" / "o1.png")
    samples = read(root)
    image = samples.take(["emoji/o1"]).x[0]
    assert image[:, 0].tolist() == [[0] * 32] * 3, "clear white is exact black"
    assert image[:, 5, 5].tolist() == [50, 25, 0]


def test_images_equal_to_an_earlier_one_are_left_out(tmp_path):
    root = package(tmp_path / "emoji")
    pictures = root / "img" / "google" / "64"
    (pictures / "o2.png").write_bytes((pictures / "o1.png").read_bytes())
    assert "emoji/o2" not in read(root).ids


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "img/google/64/o3.png").unlink(), r"names o3\.png, which is not in .*anew"),
        (lambda root: (root / "img/google/64/o3.png").write_bytes(b"no"), r"o3\.png is not an image"),
        (lambda root: Image.new("RGB", (20, 20)).save(root / "img/google/64/o3.png"), r"20×20; 64×64 expected"),
        (lambda root: (root / "emoji.json").write_text("[1]"), r"not the table of emoji-datasource-google"),
        (lambda root: (root / "emoji.json").write_text("{"), r"not the table of emoji-datasource-google"),
        (lambda root: (root / "emoji.json").write_text("[]"), r"0 classes of at least 25"),
    ],
)
def test_damaged_packages(tmp_path, damage, message):
    damage(package(tmp_path / "emoji"))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "emoji")


def test_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VESTIGE_DATA", str(tmp_path / "data"))
    with pytest.raises(MissingError, match=r"npm install --prefix .* emoji-datasource-google@16\.0\.0"):
        assets.locate("emoji")
    package(tmp_path / "data" / "node_modules" / "emoji-datasource-google")
    assert str(assets.locate("emoji").files[0]).startswith(str(tmp_path / "data"))
    package(tmp_path / "node_modules" / "emoji-datasource-google")
    assert not assets.locate("emoji").files[0].is_absolute(), "the working directory's own package comes first"
    assert configure("image-target", data="emoji").data.transform == "family"


@pytest.mark.slow
def test_the_real_package():
    if assets.KNOWN["emoji"].find() is None:
        pytest.skip("the npm package emoji-datasource-google is not installed")
    samples = load(assets.locate("emoji"))
    assert samples.x.shape == (3400, 3, 32, 32)
    assert samples.classes == 15
    assert len(set(samples.family) - {""}) == 269
    assert samples.x.shape[2] == emoji.SIDE
