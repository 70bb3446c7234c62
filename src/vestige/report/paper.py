"""Which figure of the paper each of ours answers: Xu and Zhang, arXiv 2601.06938, by its own numbers."""

from __future__ import annotations

from vestige.config import DataConfig

COUNTERPARTS = {
    "similar bars": {"mnist": "Fig. 27, and 34 for relabelling", "fmnist": "Fig. 7", "cifar10": "Fig. 7"},
    "similar gallery": {"mnist": "Fig. 8, and 35 for relabelling", "fmnist": "Fig. 28", "cifar10": "Fig. 29"},
    "target bars": {"mnist": "Fig. 9", "fmnist": "Fig. 30", "cifar10": "Fig. 32", "mnist noise": "Fig. 36"},
    "target gallery": {"mnist": "Fig. 10", "fmnist": "Fig. 31", "cifar10": "Fig. 33", "mnist noise": "Fig. 37"},
    "enhanced recall": {"mnist": "Fig. 15", "fmnist": "Fig. 15"},
    "enhanced gallery": {"mnist": "Fig. 16", "fmnist": "Fig. 16"},
}
"""Kind of figure → data set, with noise where the paper adds noise instead of masking → its figure."""


def counterpart(kind: str, data: DataConfig) -> str:
    """ "Counterpart of the paper's Fig. 9.", or what comes nearest to these data, said so."""
    known = COUNTERPARTS[kind]
    source = data.source if data.transform == "mask" else f"{data.source} {data.transform}"
    if source in known:
        return f"Counterpart of the paper’s {known[source]}."
    name, first = next(iter(known.items()))
    return f"In kind the paper’s {first.split(',')[0]} (there {name.upper()}); the paper has none for these data."
