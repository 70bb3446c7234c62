"""Factors before unlearning and symptoms after it, by hand and by autograd."""

import numpy as np
import pytest
import torch
from torch import nn

from vestige import modality
from vestige.config.image import CNNConfig, TrainConfig
from vestige.difficulty import factors, probes
from vestige.influence.representer import LastLayer, look
from vestige.random import stream
from vestige.train import train
from vestige.types import InputError, Samples

IMAGE = modality.modality("image")


class Line(nn.Module):
    """A linear network on flat inputs: everything about it is known in closed form."""

    def __init__(self, weight):
        super().__init__()
        self.head = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        with torch.no_grad():
            self.head.weight.copy_(weight)

    def features(self, x):
        return x.flatten(1)

    def forward(self, x):
        return self.head(self.features(x))


def points(rows, labels, classes=2):
    x = torch.tensor(rows, dtype=torch.float32).view(len(rows), 1, 1, -1)
    return Samples(tuple(f"p/{i}" for i in range(len(rows))), x, torch.tensor(labels), classes)


def layer(inputs, logits, answers):
    n = len(inputs)
    return LastLayer(tuple(map(str, range(n))), np.array(inputs), np.array(logits), np.array(answers), np.ones(n))


@pytest.fixture(scope="module")
def line():
    """f = (x₁, x₂): the boundary is the diagonal."""
    samples = points([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0]], [0, 0, 1, 1])
    return Line(torch.eye(2)), samples


@pytest.fixture(scope="module")
def small():
    """A CNN trained for a moment on images of three kinds, and its training samples."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 0.3, (30, 1, 12, 12))
    y = np.arange(30) % 3
    for i, label in enumerate(y):
        x[i, 0, :, 4 * label : 4 * label + 3] += 0.6
    samples = Samples(tuple(f"t/{i}" for i in range(30)), torch.tensor(x, dtype=torch.float32), torch.tensor(y), 3)
    model = IMAGE.build(CNNConfig(channels=(4, 8)), samples, generator=stream(0, "train"))
    return train(model, samples, modality=IMAGE, config=TrainConfig(steps=5, lr=0.05)), samples


def test_distances_to_a_known_boundary(line):
    model, samples = line
    found = factors.before(model, samples, samples.ids, modality=IMAGE)
    assert found["margin"].tolist() == pytest.approx([3, 1, 2, -2])
    assert found["boundary_distance"] == pytest.approx(found["margin"] / np.sqrt(2))
    assert found["adversarial_step"] == pytest.approx(1.02 * np.array([3, 1, 2, 0]) / np.sqrt(2), rel=1e-3)
    assert found["confidence"] == pytest.approx(1 / (1 + np.exp(-found["margin"])))
    assert found["loss"] == pytest.approx(-np.log(found["confidence"]))
    assert found["centroid_distance"].tolist() == pytest.approx([2, 2, np.sqrt(8), np.sqrt(8)])
    assert found["knn_disagreement"].tolist() == pytest.approx([2 / 3] * 4)


def test_entropy_is_largest_where_the_answer_is_open():
    model, samples = Line(torch.eye(2)), points([[1.0, 1.0], [5.0, 0.0], [0.0, 5.0]], [0, 0, 1])
    found = factors.before(model, samples, samples.ids, modality=IMAGE)["entropy"]
    assert found[0] == pytest.approx(np.log(2))
    assert found[1] == found[2] < 0.05


def test_a_class_of_one_has_no_centroid_and_no_discrepancy():
    model, samples = Line(torch.eye(2)), points([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], [0, 0, 1])
    found = factors.before(model, samples, samples.ids, modality=IMAGE)
    for name in ("centroid_distance", "ksd"):
        assert np.isnan(found[name]).tolist() == [False, False, True]


def test_gradients_are_autograds(small):
    model, samples = small
    ids = samples.ids[:4]
    found = factors.before(model, samples, ids, modality=IMAGE)
    weights = list(model.parameters())
    last = model.head

    def gradients(at, of):
        (loss,) = IMAGE.losses(model, samples.at(slice(at, at + 1)))
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, of)]).double().numpy()

    own = [gradients(at, weights) for at in range(4)]
    assert found["gradient_norm"] == pytest.approx([np.linalg.norm(one) for one in own], rel=1e-5)
    ends = np.stack([gradients(at, [last.weight, last.bias]) for at in range(30)])
    kernel = ends @ ends.T
    for at in range(4):
        others = [j for j in range(30) if j != at]
        assert found["influence_on_others"][at] == pytest.approx(np.abs(kernel[at, others]).mean(), rel=1e-3)
        cosine = kernel[at, others] / np.sqrt(kernel[at, at] * np.diag(kernel)[others])
        assert found["influence_of_others"][at] == pytest.approx(np.clip(cosine, 0, None).sum(), rel=1e-3)
    seen = look(model, samples, modality=IMAGE)
    p = torch.softmax(torch.tensor(seen.logits), 1).numpy()
    diagonal = np.einsum("nc,nk->ck", p * (1 - p), seen.inputs**2) / 30
    wide = np.concatenate([diagonal[:, :-1].ravel(), diagonal[:, -1]]) + 0.1 * diagonal.mean()
    assert found["self_influence"] == pytest.approx([(ends[at] ** 2 / wide).sum() for at in range(4)], rel=1e-3)


def test_the_curvature_is_the_hessians_diagonal():
    """p (1 − p) f² of a softmax layer, against second derivatives."""
    weight, x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, -1.0, 2.0, 0.3])

    def loss(w):
        return torch.nn.functional.cross_entropy((w.view(3, 4) @ x)[None], torch.tensor([1]))

    hessian = torch.autograd.functional.hessian(loss, weight.flatten()).diagonal().view(3, 4)
    p = torch.softmax(weight @ x, 0)
    assert torch.allclose(hessian, (p * (1 - p))[:, None] * x**2, atol=1e-6)


def test_the_stein_kernel_by_hand():
    """Two samples of one class at 0 and 2 with the score 1: c = 2, base 8: 1/√8 + 0 + 1/8^1.5 − 3·4/8^2.5."""
    W = np.array([[1.0], [0.0]])
    one = layer([[0.0], [2.0]], [[-50.0, 0.0]] * 2, [0, 0])  # p_0 = 0: s = W_0 − W_1 = 1
    want = 8**-0.5 + 8**-1.5 - 12 * 8**-2.5
    assert probes.ksd(one, W) == pytest.approx([want, want])


def test_the_stein_kernel_is_small_where_the_score_is_that_of_the_samples():
    """Normal samples: with the scores −z, the mean of the kernel is near 0; with those of another mean it is not."""
    z = np.random.default_rng(0).normal(size=(400, 1))
    right, wrong = (_discrepancy(z, scores) for scores in (-z, 2 - z))
    assert abs(right) < 0.02 < 0.3 < wrong


def _discrepancy(z, scores):
    """As probes.ksd, written out with autograd."""
    a = torch.tensor(z)
    c2 = float(np.median(torch.pdist(a))) ** 2

    def kernel(x, y):
        return (c2 + ((x - y) ** 2).sum()) ** -0.5

    found = probes.stein(np.asarray(z), np.asarray(scores))
    x, y = a[3].clone().requires_grad_(), a[7].clone().requires_grad_()
    k = kernel(x, y)
    (by_x,) = torch.autograd.grad(k, x, create_graph=True)
    (by_y,) = torch.autograd.grad(k, y, retain_graph=True)
    (both,) = torch.autograd.grad(by_x.sum(), y)
    k, by_x = k.detach(), by_x.detach()
    s, t = torch.tensor(scores[3]), torch.tensor(scores[7])
    assert found[3, 7] == pytest.approx(float(s @ t * k + s @ by_y + t @ by_x + both.sum()), rel=1e-6)
    return (found.sum() - np.trace(found)) / (len(z) * (len(z) - 1))


def test_every_factor_is_there_finite_and_the_same_again(small):
    model, samples = small
    given = {"references": np.full(30, 0.4), "trajectory": np.linspace(0, 1, 5)[:, None] * np.ones(30)}
    found = factors.before(model, samples, samples.ids, modality=IMAGE, **given)
    assert tuple(found) == factors.BEFORE
    assert all(np.isfinite(values).all() and values.shape == (30,) for values in found.values())
    again = factors.before(model, samples, samples.ids[::-1], modality=IMAGE)
    for name, values in again.items():
        assert values[::-1] == pytest.approx(found[name], rel=1e-4, abs=1e-6), name
    assert found["memorisation"] == pytest.approx(found["confidence"] - 0.4)
    assert found["learned_at"] == pytest.approx([0.4] * 30)  # 0, 0.25, 0.5, 0.75, 1: right from the third on
    assert found["trajectory"] == pytest.approx([0.5] * 30)


def test_similarity_mass_by_ssim_and_as_given(small):
    model, samples = small
    x = samples.x.clone()
    x[1] = x[0]
    samples = Samples(samples.ids, x, samples.y, 3)
    found = factors.before(model, samples, samples.ids, modality=IMAGE)
    assert found["similar_largest"][:2] == pytest.approx([1, 1])
    assert (found["similar_number"] >= 1)[:2].all()
    alike = np.eye(30)
    alike[0, 1:4] = 0.6, 0.4, 0.9
    given = factors.before(model, samples, samples.ids, modality=IMAGE, similarity=alike)
    assert (given["similar_number"][0], given["similar_mass"][0]) == (2, pytest.approx(1.5))
    assert given["similar_largest"][:2].tolist() == [0.9, 0]
    few = factors.before(model, samples, samples.ids, modality=IMAGE, similarity=alike, tau=0.8)
    assert (few["similar_number"][0], few["similar_mass"][0]) == (1, pytest.approx(0.9))


def test_a_sample_learned_for_good():
    path = np.array([[0.6, 0.2, 0.9], [0.4, 0.3, 0.9], [0.7, 0.4, 0.9], [0.8, 0.1, 0.9]])
    assert probes.learning(path)["learned_at"].tolist() == [0.5, 1, 0]


@pytest.mark.parametrize(
    ("asked", "given", "why"),
    [
        (["t/0", "t/99"], {}, "no sample is called 't/99'"),
        ([], {}, "at least 3 training samples and an id"),
        (["t/0"], {"references": [0.1, 0.2]}, r"references of 1 ids must have shape \(1,\)"),
        (["t/0"], {"trajectory": [0.1]}, "trajectory of 1 ids must have shape"),
        (["t/0"], {"similarity": [[0.1]]}, r"must have shape \(1, 30\)"),
    ],
)
def test_what_does_not_fit_is_refused(small, asked, given, why):
    model, samples = small
    with pytest.raises(InputError, match=why):
        factors.before(model, samples, asked, modality=IMAGE, **given)


def test_a_model_that_diverged_has_no_factors(small):
    _, samples = small
    model = Line(torch.full((3, 144), torch.nan))
    with pytest.raises(InputError, match="a model that diverged"):
        factors.before(model, samples, samples.ids[:1], modality=IMAGE)


def test_expansion_counts_what_a_random_step_does_not():
    before, after = [0.9, 0.9, 0.9, 0.5], [0.7, 0.75, 0.85, 0.5]
    assert factors.expansion(before, after, [[0.9, 0.9, 0.9, 0.5], [0.7, 0.9, 0.9, 0.5]]) == 1.5
    with pytest.raises(InputError):
        factors.expansion(before, after, [0.9, 0.9, 0.9, 0.5])


def test_symptoms_of_a_path_by_hand():
    assert factors.membership_resistance([4.0, 1.0], [2.0, 1.0], [0.0, 0.98])[0] == 0.5
    assert np.isnan(factors.membership_resistance([1.0], [0.5], [0.98])[0])
    assert factors.tolerance([0, 0.5, 0.95, 1.0], [1, 0.99, 0.9, 0.95]) == pytest.approx(0.05)
    assert np.isnan(factors.tolerance([0, 0.5], [1, 1]))
    assert factors.steps_to([0.9, 0.6, 0.55, 0.3], 0.5) == 2
    assert factors.steps_to([0.9, 0.8], 0.5) is None
    assert factors.shift_at([0, 0.1, 0.2, 0.3], [0.9, 0.6, 0.55, 0.3], 0.5) == 0.2
    assert np.isnan(factors.shift_at([0, 0.1], [0.9, 0.8], 0.5))
