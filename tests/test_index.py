import numpy as np
import pytest
import torch

from vestige import index
from vestige.types import InputError, MissingError


def vectors(count=500, width=16, seed=0):
    made = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return made / made.norm(dim=1, keepdim=True)


def test_hand_worked():
    pool = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8], [0, 1]])
    hits = index.nearest(torch.tensor([[0.0, 1]]), pool, 3)
    assert hits.position.tolist() == [1, 3, 2]  # the earlier of two equal ones first
    assert hits.value.tolist() == pytest.approx([1, 1, 0.8])
    assert index.nearest(pool[1:2], pool, 1, skip=torch.tensor([1])).position.tolist() == [3]
    assert index.within(pool[:1], pool, 0.6).position.tolist() == [0, 2]


@pytest.mark.parametrize("block", [3, 64, 16_384])
def test_blocks_do_not_matter(block):
    pool = vectors()
    scores = pool[:20] @ pool.T
    scores[range(20), range(20)] = -2
    expected = scores.topk(7, 1).indices
    hits = index.nearest(pool[:20], pool, 7, skip=torch.arange(20), block=block)
    assert torch.equal(hits.position.view(20, 7), expected)


def test_streams_from_disk(tmp_path):
    pool = vectors()
    path = tmp_path / "vectors.npy"
    np.save(path, pool.numpy())
    on_disk = np.load(path, mmap_mode="r")
    hits = index.search(pool[:5], on_disk, 3)
    assert torch.equal(hits.position, index.nearest(pool[:5], pool, 3).position)


def test_recall_counts_what_was_found():
    exact = torch.tensor([[1, 2], [3, 4]])
    assert index.recall(torch.tensor([[2, 9], [4, 3]]), exact) == 0.75
    assert index.recall(torch.tensor([[-1, 1]]), torch.tensor([[1, -1]])) == 1


def test_cells_reach_their_recall():
    pytest.importorskip("faiss")
    centres = vectors(40, 32, seed=1)
    pool = centres[torch.arange(4000) % 40] + 0.4 * vectors(4000, 32, seed=2)
    pool = pool / pool.norm(dim=1, keepdim=True)
    made = index.Cells(pool, seed=0)
    assert made.recall >= index.RECALL
    assert made.visited < 4 * 4000**0.5
    exact = index.nearest(pool[:100], pool, 10, skip=torch.arange(100))
    found = made.nearest(pool[:100], 10, skip=torch.arange(100))
    assert index.recall(found.position.view(100, 10), exact.position.view(100, 10)) >= 0.98
    assert not (found.position == found.query).any()


def test_too_many_vectors_go_to_cells(monkeypatch):
    import sys

    monkeypatch.setattr(index, "EXACT", 100)
    assert len(index.search(vectors(5), vectors(), 3).query) == 15  # few queries: exact all the same
    monkeypatch.setattr(index, "PRODUCTS", 100)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingError, match=r"vestige\[search\]"):
        index.search(vectors(5), vectors(), 3)


def test_widths_must_agree():
    with pytest.raises(InputError, match="of one d"):
        index.nearest(vectors(2, 8), vectors(5, 9), 1)
