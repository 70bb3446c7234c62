"""Settings of language studies: data, the model, fine-tuning, unlearning, what is asked of the model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat

from vestige.config.base import Settings


class TextDataConfig(Settings):
    """How a similarity-entailed set of questions and answers is built (Xu and Zhang 2026, Table 4)."""

    source: str = Field("facts", description="a known name, a JSONL, CSV or Parquet file, a folder of these")
    question: str = Field("", description="the column of questions; empty: one that is known")
    answer: str = Field("", description="the column of answers; empty: one that is known")
    id: str = Field("", description="the column of ids; empty: `id` where there is one, else positions")
    targets: int = Field(5, ge=1, description="pairs to forget, each of another family of paraphrases")
    similar: int = Field(5, ge=0, description="paraphrases of each target that are trained on, in the arm *with*")
    held_out: int = Field(3, ge=0, description="paraphrases of each target that are never trained on: for evaluation")
    spare: int = Field(3, ge=0, description="paraphrases that an enhanced method may unlearn; in no other part")
    compose: bool = Field(
        False, description="where a family has too few paraphrases, compose more from those it has, part by part"
    )
    near: int = Field(2, ge=0, description="innocent pairs about what looks like the target, in training")
    other: int = Field(20, ge=1, description="other pairs in training, those near the targets not counted")
    never_seen: int = Field(10, ge=1, description="other pairs never trained on: the null")


class LoRA(Settings):
    """Low-rank adapters (Hu et al. 2021): the model without them is the reference."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)


class LMConfig(Settings):
    """A causal language model of transformers."""

    kind: Literal["lm"] = "lm"
    source: str = Field(
        "smollm2-135m-instruct",
        description="a known name (tiny-llama, tiny-gpt-neo, tiny-opt: untrained), a hub name, a folder, a GGUF file",
    )
    lora: LoRA | None = Field(None, description="train low-rank adapters; none: all weights")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "auto", description="of products; weights stay float32. auto: bfloat16 where the device has it in hardware"
    )
    chat: bool = Field(True, description="use the model's own chat template, where it has one")


class TuneConfig(Settings):
    """Fine-tuning by AdamW at a constant rate after a linear warm-up."""

    epochs: int = Field(8, ge=1)
    lr: float = Field(1e-4, gt=0)
    batch: int = Field(8, ge=1, description="pairs per gradient step")
    accumulate: int = Field(
        1, ge=1, description="parts that a batch is computed in: less memory, the same gradient; GPUs take one each"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises")
    weight_decay: float = Field(0.0, ge=0)


class TextSteps(Settings):
    """Gradient steps of one unlearning method by AdamW; each sees one forget and one retain batch."""

    steps: int = Field(10, ge=1)
    lr: float = Field(2e-5, gt=0)


ENHANCED = ("paraphrases", "gamma", "sigma", "noise_layers", "alphas", "validation")
"""Settings of unlearning that enhanced stages alone look at."""


class TextUnlearnConfig(Settings):
    """Settings that unlearning methods of language models share, and those of single methods (docs/methods.md)."""

    steps: int = Field(10, ge=1, description="gradient steps at most, of the methods that have no other number")
    lr: float = Field(2e-5, gt=0, description="rate of AdamW, of the methods that have no other")
    forget_batch: int = Field(4, ge=1, description="forget pairs per step")
    retain_batch: int = Field(4, ge=1, description="retained pairs per step, where a method looks at them")
    warmup: float = Field(0.0, ge=0, lt=1)
    methods: dict[str, TextSteps] = Field({}, description="method → its own steps and rate over those above")
    beta: float = Field(0.1, gt=0, description="of NPO and DPO")
    simnpo_beta: float = Field(2.5, gt=0, description="of SimNPO, whose loss is per token")
    draws: int = Field(5, ge=1, description="GDR: random outputs drawn for each forget pair, fixed by the seed")
    random_output: Literal["fluent", "tokens"] = Field("fluent", description="GDR: another pair's answer, or noise")
    alpha: float = Field(1.0, ge=0, description="TV: how far to go back along the task vector")
    undial: float = Field(10.0, gt=0, description="UNDIAL: how much the logits of the answer tokens are lowered")
    whp: float = Field(5.0, gt=0, description="WHP: how much the logits lose of what reinforcing raised")
    rmu_scale: float = Field(5.0, gt=0, description="RMU: length of the random goal, in lengths of a hidden state")
    rmu_retain: float = Field(100.0, ge=0, description="RMU: weight of the retained pairs' hidden states")
    until: float | None = Field(
        None, ge=0, le=1, description="stop at the first check where ROUGE-L recall on the forget set is at most this"
    )
    check_every: int = Field(1, ge=1, description="steps between these checks")
    utility: float | None = Field(
        None, ge=0, le=1, description="stop before ROUGE-L recall on retained pairs falls by more than this"
    )
    paraphrases: int = Field(5, ge=0, description="m of the stages Enhanced …: spare paraphrases forgotten with each")
    gamma: float = Field(0.618, ge=0, description="γ of the stages Enhanced …: strength of the noise")
    sigma: Literal["relative", "absolute"] = Field(
        "relative", description="what γ = 1 means: noise as large as the states (their RMS), or N(0, 1) as in the paper"
    )
    noise_layers: tuple[int | str, ...] = Field(
        ("embed",), min_length=1, description="where noise is added: embed, and blocks of the decoder from 0"
    )
    alphas: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = Field(
        (1.0, 1.0, 1.0), description="enhanced: weights of the target, its paraphrases, the regulariser (α1, α2, α3)"
    )
    validation: int = Field(2, ge=1, description="stages -auto…: spare paraphrases of each target kept to choose by")

    @property
    def plain(self) -> dict[str, Any]:
        """These settings without those of enhanced stages, which reach no plain one."""
        return self.model_dump(mode="json", exclude=set(ENHANCED))


class AskConfig(Settings):
    """How a model is asked, and how its answers are scored."""

    max_new_tokens: int = Field(64, ge=1, description="most tokens of an answer; decoding is greedy")
    batch: int = Field(16, ge=1, description="questions asked at once")
    words: Literal["auto", "rouge", "unicode"] = Field(
        "auto", description="how ROUGE takes texts apart: rouge-score's way (ASCII), or any script's words"
    )
    others: int = Field(8, ge=0, description="other pairs of training that are asked as well, per unlearned target")


class UtilityConfig(Settings):
    """What a language model is asked to tell whether it is still of use (docs/methods.md)."""

    choices: str = Field("common", description="multiple choice: common, which is ours, or a JSONL file; '': none")
    limit: int | None = Field(120, ge=1, description="questions of each set and task at most; none: all")
    remaining: int = Field(20, ge=0, description="other pairs of training whose perplexity is told")
    tasks: tuple[str, ...] = Field((), description="tasks of lm-evaluation-harness, by name")
    task_folder: str = Field("", description="a folder of further tasks: YAML files and their data")
    batch: int = Field(16, ge=1, description="questions asked at once")


class ParaphraseConfig(Settings):
    """How targets of a set of questions and answers are paraphrased."""

    source: str
    question: str = ""
    answer: str = ""
    id: str = ""
    targets: str = Field("5", description="how many to draw, or ids parted by commas")
    count: int = Field(50, ge=1, description="paraphrases to keep of each target (paper: 50)")
    asks: int | None = Field(
        None, ge=1, description="candidates of each target at most; none: twice count, as the paper"
    )
    others: int = Field(0, ge=0, description="records of no family to write too, with those near to targets")
    backend: str = "rules"
    url: str = ""
    model: str = ""
    temperature: float = Field(0.8, ge=0, le=2)
    max_tokens: int = Field(400, ge=1)
    timeout: float = Field(60.0, gt=0, description="seconds for one answer")
    tries: int = Field(5, ge=1, description="how often one request is sent at most")
    parallel: int = Field(4, ge=1, le=64, description="requests under way at once")
    device: str = Field("cpu", description="of a local model")
    encoder: str = "minilm"
    drift: float = Field(0.6, ge=0, le=1, description="least cosine to the target that is kept; 0: not looked at")
    seed: int = Field(0, ge=0)

    @property
    def most(self) -> int:
        """Candidates of each target at most."""
        return self.asks or (20 if self.backend == "rules" else 2) * self.count


class TextRecipe(Settings):
    """What a method needs to know of a language model: where it comes from, how it is tuned and unlearned."""

    model: LMConfig = LMConfig()
    train: TuneConfig = TuneConfig()
    unlearn: TextUnlearnConfig = TextUnlearnConfig()
    ask: AskConfig = AskConfig()
