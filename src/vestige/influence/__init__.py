"""Influence: which training samples carry a network's output.

`exact`: multipliers and the gradient kernel, of the homogeneous MLP. `carry`: whose loss would cost most. `share`: a
margin split among own, similar, near and others. `keep`: what is kept of it. For any network: `representer`, of its
last layer (`answers`: of a language model's head), and `gradients`, an approximation. `tell`: what `vestige influence`
says, in each of these ways.
"""

from vestige.influence.carry import OFFERED, Choice, carriers, choose_k, irreplaceable, least_replaceable
from vestige.influence.exact import (
    ENOUGH,
    Contributions,
    Explanation,
    Start,
    Trained,
    check,
    contributions,
    explain,
    left_of_start,
    tolerance,
    why_not,
)
from vestige.influence.keep import Kept, ask, restore
from vestige.influence.share import PARTS, RANGED, Kin, Share, divide, kin_of, record, shares
from vestige.influence.tell import WAYS, by_answer_tokens, by_gradients, by_multipliers, by_representers, way

__all__ = [
    "ENOUGH", "OFFERED", "PARTS", "RANGED", "WAYS", "Choice", "Contributions", "Explanation", "Kept", "Kin",
    "Share", "Start", "Trained", "ask", "by_answer_tokens", "by_gradients", "by_multipliers", "by_representers",
    "carriers", "check", "choose_k", "contributions", "divide", "explain", "irreplaceable", "kin_of",
    "least_replaceable", "left_of_start", "record", "restore", "shares", "tolerance", "way", "why_not",
]  # fmt: skip
