"""Image classifiers as the subject of an audit: the user's own network, or one that vestige knows."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige import image, influence, metrics, presets
from vestige.audit import own, probing
from vestige.audit.material import Material
from vestige.audit.request import Written
from vestige.audit.subject import Question
from vestige.classifier import logits
from vestige.config import MLPConfig, Recipe, TrainConfig, UnlearnConfig
from vestige.modality import modality
from vestige.random import stream
from vestige.types import InputError, Samples
from vestige.unlearn.methods import METHODS, NEEDS_UNTRAINED

if TYPE_CHECKING:
    from vestige.difficulty.predict import Predictor
    from vestige.influence import Kin
    from vestige.modality import Modality

NEIGHBOURS = 15
"""Never-seen images that say which of them can stand in for a record."""
CONTROLS = 20
"""Of these, controls at most."""
REFIT = 4000
"""Retained images that a last layer is refitted on, at most."""
REBOUND = 200
"""Retained images in a step of `rebound`."""
STEPS = 5
"""Of `rebound`."""
SHARE = 2e-3
"""Length of such a step beside that of all weights."""
TRIAL = 1000
"""Records that the user's function is timed on, at most, and a tenth of all; but some of each class."""
CHUNK = 512
WORLD = 10_000
"""Training images that a record's factors of difficulty are computed among, at most, beside those similar to it."""
AMONG = 5000
"""Training images among which a margin is split, at most; of 60,000 the refitted last layer alone takes minutes."""


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """While it lasts, what torch, numpy and Python draw at random starts from this seed: the user's code may do so."""
    drawn, state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(drawn)
            random.setstate(state)


@dataclass(frozen=True)
class Images:
    """An image classifier under audit (`subject.Subject`).

    train: the user's function, or None for a known network by its recipe.
    """

    written: Written
    recipe: Recipe
    train: Callable[..., Any] | None
    levels: Sequence[str]
    watched: str = "never-seen records"
    no_predictor: str = ""

    @classmethod
    def of(cls, written: Written) -> Images:
        """The subject of a request. Raises InputError for a function that is not there."""
        asked = written.request.model
        kind = asked.network.kind if asked.network else "cnn"
        if asked.recipe is not None and asked.recipe.sisa is not None:
            raise written.wrong(("model", "recipe", "sisa"), "an audit takes one network, not an ensemble of shards")
        layer = presets.training(kind)
        usual = TrainConfig.model_validate(layer.get("train", {}))
        chosen = written.request.unlearn
        if chosen is None:
            tuned = presets.tuned(kind)["unlearn"] if "methods" in presets.read(presets.FILE).get(kind, {}) else {}
            chosen = UnlearnConfig.model_validate(tuned)
        if not isinstance(chosen, UnlearnConfig):
            raise written.wrong(("unlearn",), "these are settings of language methods, and the model takes images")
        if chosen.utility is None:  # a method stops where it would lose more than the request allows
            chosen = chosen.model_copy(update={"utility": written.request.utility})
        recipe = Recipe(model=asked.network or MLPConfig(), train=asked.recipe or usual, unlearn=chosen)
        train = None
        if asked.train:
            try:
                train = own.function(asked.train, written.path.parent)
            except InputError as error:
                raise written.wrong(("model", "train"), str(error)) from None
        return cls(written, recipe, train, ("answer", "probe", "noised"))

    @property
    def trains(self) -> bool:
        return self.train is not None or self.written.request.model.recipe is not None

    def check(self, material: Material) -> None:
        asked = self.written.request.model
        few = own.few_of_each(material.trained)
        if self.trains:
            place = ("model", "train" if self.train else "network")
            try:
                self.learn(few, 0) if self.train else self._fresh(few, 0)
            except InputError as error:
                raise self.written.wrong(place, str(error)) from None
        if asked.weights:
            self._refused("weights", lambda: self.before(material.trained, 0))
        if asked.after:
            self._refused("after", lambda: self.given(material.trained))

    def learn(self, samples: Samples, seed: int) -> nn.Module:
        if self.train is not None:
            with _seeded(seed):
                return own.trained(self.train, samples, seed, self.written.request.model.train or "")
        from vestige.sisa import learn

        return learn(samples, modality=_modality(), config=self.recipe, seed=seed)

    def before(self, samples: Samples, seed: int) -> nn.Module:
        asked = self.written.request.model
        if asked.weights is None:
            return self.learn(samples, seed)
        path = self.written.beside(asked.weights)
        return self._with(own.read_weights(path, allow_pickle=asked.allow_pickle), samples)

    def given(self, samples: Samples) -> nn.Module:
        asked = self.written.request.model
        name = asked.after or ""
        path = self.written.beside(name)
        if path.exists():
            return self._with(own.read_weights(path, allow_pickle=asked.allow_pickle), samples)
        with _seeded(0):
            return own.returned(name, self.written.path.parent, samples)

    def methods(self) -> tuple[str, ...]:
        kept = [name for name in METHODS if name not in ("SISA", "retrain")]
        kept = [name for name in kept if self.train is None or name not in NEEDS_UNTRAINED]
        return (*(["retrain"] if self.trains else []), *kept)

    def costs(self, forget: int, retain: int, material: Material) -> list[dict[str, Any]]:
        few = own.few_of_each(material.trained)
        few = max(few, material.trained.evenly(min(TRIAL, len(material.trained) // 10)), key=len)
        network = self.learn(few, 0) if self.train else self._fresh(few, 0)
        size = sum(weight.numel() for weight in network.parameters()) * 4 / 2**20
        data = material.trained.x.numel() * 4 / 2**20
        train = self.recipe.train
        batch = min(train.batch or retain, retain)
        start = time.perf_counter()
        if self.train is not None:
            self.learn(few, 0)
            whole = (time.perf_counter() - start) * retain / len(few)
            step = whole / (train.steps * -(-retain // batch))
        else:
            step = _seconds_a_step(network, material.trained.at(slice(0, batch)))
        found = []
        for name in self.methods():
            field = presets.SETTINGS.get(name)
            passes = (
                train.steps if name == "retrain" else getattr(getattr(self.recipe.unlearn, field or ""), "steps", 1)
            )
            led = forget if name == "GA" else retain
            taken = step * passes * -(-led // min(batch, led)) * (1 if name in ("retrain", "finetune", "GA") else 2)
            found.append({"method": name, "seconds": round(taken, 1), "mib": round(4 * size + data)})
        return found

    def expected(
        self, model: nn.Module, trained: Samples, close: Sequence[str], ids: Sequence[str], predictor: Predictor
    ) -> tuple[np.ndarray, np.ndarray]:
        from vestige.difficulty.expect import beside

        learner, layer = self._headed(model, trained)
        drawn = {*trained.evenly(WORLD).ids, *close, *ids}
        world = trained.take(name for name in trained.ids if name in drawn)
        try:
            return beside(predictor, Headed(learner, layer), world, ids, room=_modality())
        except RuntimeError as error:
            raise InputError(f"this network gives no gradient: {error}") from error

    def unlearn(self, method: str, model: nn.Module, forget: Samples, retain: Samples, seed: int) -> nn.Module:
        if method == "retrain":
            return self.learn(retain, seed)
        return METHODS[method](model, forget, retain, modality=_modality(), config=self.recipe, seed=seed)

    def keep(self, model: nn.Module) -> dict[str, np.ndarray]:
        return {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}

    def restore(self, arrays: Mapping[str, np.ndarray], samples: Samples) -> nn.Module:
        weights = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
        return self._with(weights, samples, finite=False)

    def ask(self, model: nn.Module, question: Question) -> dict[str, np.ndarray]:
        return {
            **probing.shared(
                question,
                partial(answers, model),
                partial(probe, model, question.retain),
                partial(rebound, model, question.retain),
                partial(noised, model),
            ),
            "near_accuracy": probing.near(question, lambda lot: right(model, lot)),
            "utility": right(model, question.never).astype(np.float64),
        }

    def hide(self, model: nn.Module, question: Question, levels: np.ndarray, *, last: bool) -> nn.Module | None:
        return hide(model, question.records, question.retain, levels, last=last)

    def controls(self, record: Samples, never: Samples) -> Samples:
        return controls(record, never)

    def shares(
        self, model: nn.Module, members: Samples, asked: Samples, kin: Mapping[str, Kin], never: Samples
    ) -> list[dict[str, Any]]:
        if len(members) > AMONG:
            raise InputError(f"it is split among {AMONG:,} training images at most, and there are {len(members):,}")
        if isinstance(self.written.request.model.network, MLPConfig):
            if not len(never):
                raise InputError("how far a share can be trusted is read off never-seen images; give data.controls")
            return influence.by_multipliers(model, members, asked, kin, start=None, never_seen=never)
        headed = Headed(*self._headed(model, members))
        return influence.by_representers(headed, members, asked, kin, modality=_modality(), decay=0.0, refit=True)

    def _headed(self, model: nn.Module, samples: Samples) -> tuple[nn.Module, nn.Linear]:
        """A copy of a network, and the linear layer that it ends in. Raises InputError where there is none."""
        learner, _ = _learner(model)
        layer = last_layer(learner, samples)
        if layer is None or layer is not [part for part in learner.modules() if isinstance(part, nn.Linear)][-1]:
            raise InputError("this network does not end in a linear layer, a number for each class")
        return learner, layer

    def _fresh(self, samples: Samples, seed: int) -> nn.Module:
        return image.build(self.recipe.model, samples, generator=stream(seed, "train"))

    def _with(self, weights: Mapping[str, Tensor], samples: Samples, *, finite: bool = True) -> nn.Module:
        """A network of the right kind with these weights in it. Raises InputError for weights of another network."""
        few = own.few_of_each(samples)
        model = self.learn(few, 0) if self.train else self._fresh(few, 0)
        try:
            model.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise InputError(
                f"the weights are not those of this network: {' '.join(str(error).split())[:200]}"
            ) from None
        return own.classifier(model, few, "these weights", finite=finite)

    def _refused(self, field: str, load: Callable[[], nn.Module]) -> None:
        try:
            load()
        except InputError as error:
            raise self.written.wrong(("model", field), str(error)) from None


class Headed(nn.Module):
    """A network with what its last layer sees as `features`, as the factors of difficulty ask for it."""

    def __init__(self, network: nn.Module, layer: nn.Linear) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        return out

    def features(self, x: Tensor) -> Tensor:
        return _through(self.network, self.layer, x)[0]


def answers(model: nn.Module, samples: Samples) -> np.ndarray:
    """log(p_y / (1 − p_y)) of each record's own label, in nats (N,)."""
    return _margins(_logits(model, samples), samples)


def right(model: nn.Module, samples: Samples) -> np.ndarray:
    """Whether each record is answered by its label, (N,) booleans; what is no number is no answer."""
    if not len(samples):
        return np.zeros(0, bool)
    out = _logits(model, samples)
    found: np.ndarray = np.isfinite(out).all(1) & (out.argmax(1) == samples.y.numpy())
    return found


def probe(model: nn.Module, retain: Samples, asked: Samples) -> np.ndarray | None:
    """The margin of each record's label when the last layer is fitted anew on retained records (`refitted`), (N,).

    What was done to the model's own last layer, or to what comes out of it, does not matter. None where no linear layer
    ends in the classes.
    """
    layer = last_layer(model, asked)
    if layer is None:
        return None
    few = retain.evenly(REFIT)
    seen, new = (_through(model, layer, part.x)[0] for part in (few, asked))
    return np.asarray(probing.refitted(seen, few.y, new, asked.y, few.classes).numpy())


def rebound(model: nn.Module, retain: Samples, asked: Samples) -> np.ndarray | None:
    """The answers after a *copy* took a few steps on retained records (`nudged`), (N,): what was hidden comes back.

    They are read where the last layer ends, so that what filters the output after it does not matter. None where no
    gradient reaches the weights.
    """
    learner, loss = _learner(model)
    if not probing.nudged(list(learner.parameters()), retain, loss, batch=REBOUND, steps=STEPS, share=SHARE):
        return None
    layer = last_layer(learner, asked)
    if layer is None:
        return answers(learner, asked)
    return _margins(_through(learner, layer, asked.x)[1].numpy(), asked)


def noised(model: nn.Module, asked: Samples) -> np.ndarray:
    """The mean answers of a *copy* whose matrices and filters are disturbed by noise (`probing.noised`), (N,)."""
    learner = copy.deepcopy(model)
    weights, plain = ([one.detach() for one in part.parameters() if one.ndim > 1] for part in (learner, model))
    return probing.noised(weights, plain, lambda: answers(learner, asked))


def hide(model: nn.Module, records: Samples, retain: Samples, levels: np.ndarray, *, last: bool) -> nn.Module | None:
    """A *copy* that hides the records (`probing.hidden`) in all weights, or in its last layer; None without one."""
    learner, loss = _learner(model)
    part = last_layer(learner, records) if last else learner
    if part is None:
        return None
    weights = list(part.parameters())
    probing.hidden(weights, records, retain, REBOUND, loss, lambda: answers(learner, records), levels)
    return learner


def _learner(model: nn.Module) -> tuple[nn.Module, Callable[[Samples], Tensor]]:
    """A copy of a model that may be trained, and its loss."""
    learner = copy.deepcopy(model).eval().requires_grad_()

    def loss(part: Samples) -> Tensor:
        return F.cross_entropy(learner(part.x).double(), part.y)

    return learner, loss


def controls(record: Samples, never: Samples) -> Samples:
    """The never-seen images that stand in for one record, nearest by pixels first, under the record's label.

    They are of the record's class where most of its 15 nearest never-seen images are; a record whose label is odd for
    its looks gets images of the class that it looks like, under its own label.
    """
    distance = (never.x.flatten(1) - record.x.flatten(1)).norm(dim=1)
    order = distance.argsort(stable=True)
    kind = int(never.y[order[:NEIGHBOURS]].mode().values)
    rows = order[never.y[order] == kind][:CONTROLS]
    chosen = never.at(rows)
    return replace(chosen, y=record.y.repeat(len(chosen)))


def last_layer(model: nn.Module, samples: Samples) -> nn.Linear | None:
    """The last linear layer that gives one number per class, None where there is none."""
    seen: list[nn.Linear] = []

    def note(layer: nn.Module, _: Any, out: Any) -> None:
        if isinstance(layer, nn.Linear) and isinstance(out, Tensor) and out.shape == (1, samples.classes):
            seen.append(layer)

    hooks = [part.register_forward_hook(note) for part in model.modules() if isinstance(part, nn.Linear)]
    try:
        with torch.no_grad():
            model(samples.x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1] if seen else None


def _through(model: nn.Module, layer: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer sees of these images, (N, width), and what it makes of it, (N, classes), float64."""
    found: list[tuple[Tensor, Tensor]] = []
    hook = layer.register_forward_hook(lambda _, seen, out: found.append((seen[0].double(), out.double())))
    try:
        with torch.no_grad():
            for part in torch.split(x, CHUNK):
                model(part)
    finally:
        hook.remove()
    seen, out = (torch.cat(parts) for parts in zip(*found, strict=True))
    return seen, out


def _seconds_a_step(network: nn.Module, batch: Samples) -> float:
    """How long one gradient step on this batch takes: the second of two, on a network that is thrown away."""
    taken = 0.0
    for _ in range(2):
        start = time.perf_counter()
        F.cross_entropy(network(batch.x), batch.y).backward()  # type: ignore[no-untyped-call]
        taken = time.perf_counter() - start
    return taken


def _margins(out: np.ndarray, samples: Samples) -> np.ndarray:
    """The margins of these logits, NaN of a record whose logits are not finite, as those of a model that diverged."""
    found, sound = np.full(len(out), np.nan), np.isfinite(out).all(1)
    if sound.any():
        found[sound] = metrics.margins(out[sound], samples.y.numpy()[sound])
    return found


def _logits(model: nn.Module, samples: Samples) -> np.ndarray:
    with torch.no_grad():
        return logits(model, samples).double().numpy()


def _modality() -> Modality:
    return modality("image")
