"""What result.json of a difficulty study holds: the contract between the engine and its readers (report, terminal).

A number that does not exist is null, and `missing` says why. Everything but `runs`' symptoms and `analyses` of them is
known before any unlearning.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Model(TypedDict):
    """A model before unlearning. learner: "one", or "shards" (SISA's). dose: similar samples of each dosed sample."""

    dose: int
    seed: int
    learner: str
    test_accuracy: float
    train_accuracy: float


class Sample(TypedDict):
    """One sample before one model of one seed has unlearned it.

    p_before, p_ref, p_in: probability of its true class by this model, mean over the references not trained on it
    (p_ref_error: standard error of that mean, over p_ref_n of them) and over those trained on it; margin_before,
    margin_ref: log p/(1 − p), for p_ref the mean of it. memorisation: p_in − p_ref, of the learner's subset models.
    factors: name → value, of `difficulty.factors.before`; empty for the learner "shards". dosed: it is one of the
    samples that get similar ones. Of a dose above 0 only dosed samples are here.
    """

    dose: int
    seed: int
    learner: str
    id: str
    label: int
    dosed: bool
    p_before: float
    p_ref: float
    p_ref_error: float | None
    p_ref_n: int
    p_in: float | None
    margin_before: float
    margin_ref: float
    memorisation: float | None
    factors: dict[str, float | None]


class Run(TypedDict):
    """What one algorithm did to one sample, with one seed.

    learner: whose models it starts from, "shards" for SISA and else "one". p_after, margin_after: of the true class.
    test, retained: accuracy after over before. E, U, H, erasable: `difficulty.score`. symptoms: name → value, of
    `difficulty.factors.AFTER`. length: ‖θ_after − θ_before‖ / ‖θ_before‖. steps_taken: gradient steps, null where
    the algorithm has none of its own (EU, SISA, SSD).
    """

    dose: int
    seed: int
    algorithm: str
    learner: str
    id: str
    p_after: float
    margin_after: float
    test: float
    retained: float
    E: float
    U: float
    H: float
    erasable: bool
    length: float
    steps_taken: int | None
    symptoms: dict[str, float | None]


class Missing(TypedDict):
    """A run that is not there, and why."""

    dose: int
    seed: int
    algorithm: str
    id: str
    why: str


class Result(TypedDict):
    """result.json.

    name: of data and model, "mnist cnn". dosed: the ids that get similar samples. pictures: dose → the folder under
    `data/` in the run folder where the samples themselves stand (of texts, facts["texts"]: id → text). analyses:
    question → what `difficulty.analyse` or `difficulty.judge` returned, or {"missing": why}: inequality, agreement,
    holding, symptoms (holding of the group "after"), natural, constructed, predictor. provenance: as in every result.
    """

    schema_version: int
    study: str
    name: str
    comparable: bool
    modality: str
    algorithms: list[str]
    seeds: list[int]
    ids: list[str]
    dosed: list[str]
    doses: list[int]
    classes: int
    pictures: dict[str, str]
    models: list[Model]
    samples: list[Sample]
    runs: list[Run]
    missing: list[Missing]
    analyses: dict[str, Any]
    provenance: dict[str, Any]
