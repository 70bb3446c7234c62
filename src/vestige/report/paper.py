"""Which figure of the paper each of ours answers: Xu and Zhang, arXiv 2601.06938, by its own numbers."""

from __future__ import annotations

from vestige.config import DataConfig

COUNTERPARTS = {
    "similar bars": {
        "mnist": "Fig.\u00a027, and 34 for relabelling",
        "fmnist": "Fig.\u00a07",
        "cifar10": "Fig.\u00a07",
    },
    "similar gallery": {
        "mnist": "Fig.\u00a08, and 35 for relabelling",
        "fmnist": "Fig.\u00a028",
        "cifar10": "Fig.\u00a029",
    },
    "target bars": {
        "mnist": "Fig.\u00a09",
        "fmnist": "Fig.\u00a030",
        "cifar10": "Fig.\u00a032",
        "mnist noise": "Fig.\u00a036",
    },
    "target gallery": {
        "mnist": "Fig.\u00a010",
        "fmnist": "Fig.\u00a031",
        "cifar10": "Fig.\u00a033",
        "mnist noise": "Fig.\u00a037",
    },
    "enhanced recall": {"mnist": "Fig.\u00a015", "fmnist": "Fig.\u00a015"},
    "enhanced gallery": {"mnist": "Fig.\u00a016", "fmnist": "Fig.\u00a016"},
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
