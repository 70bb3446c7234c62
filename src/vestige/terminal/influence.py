"""What carries a margin, as lines of 100 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

INFLUENCE_CAPTION = (
    "Parts of the margin (the own class's logit over the others), in logits; they sum to it. own, similar: with the "
    "range in which they can be told apart. start: what is left of the weights before training. Below: the training "
    "samples that carry most, largest first."
)
LAST_LAYER_CAPTION = (
    "Parts of the margin (the own class's logit over the others; of an answer the mean over its tokens), in logits; "
    "they sum to it. unexplained: what the last layer's sum over training samples leaves of it, with ? where that is "
    "more than half. Below: the training samples that carry most, largest first."
)


def show_influence(found: list[dict[str, Any]]) -> None:
    """What carries each sample's margin, by model, and who carries most: lines of 100 columns."""
    from rich.console import Console

    if found[0]["by"] == "gradient":
        _show_gradients(found)
        return
    parts = tuple(found[0]["parts"])
    ranged = tuple(found[0]["ranges"])
    width = max(len(one["target"]) for one in found)
    for key in dict.fromkeys((one["training"], one["stage"]) for one in found):
        lot = [one for one in found if (one["training"], one["stage"]) == key]
        told = lot[0].get("note", f"{100 * lot[0]['explained']:.0f} % of the weights explained")
        print(textwrap.fill(f"{key[0]} similar samples, {key[1]}: {told}", 100, subsequent_indent="  "))
        if lot[0].get("warning"):
            print(textwrap.fill(f"warning: {lot[0]['warning']}", 100, initial_indent="  ", subsequent_indent="  "))
        if lot[0]["why"]:
            print(f"  withheld: {lot[0]['why']}\n")
            continue
        heads = [f"{part:>{20 if part in ranged else _width(part)}}" for part in parts]
        print(f"  {'sample':<{width}}  margin{''.join(heads)}")
        for one in lot:
            cells = [_part(one, part) for part in parts]
            doubt = one["by"] == "representer" and abs(one["parts"]["unexplained"]) > abs(one["margin"]) / 2
            print(f"  {one['target']:<{width}}  {one['margin']:6.2f}{''.join(cells)}{' ?' if doubt else ''}")
            carriers = ", ".join(f"{name} {part:.2f}" for name, part in one["top"] if part > 0)
            print(textwrap.indent(textwrap.fill(carriers, 96 - width), " " * (width + 4)))
            if "enough" in one:
                print(textwrap.indent(textwrap.fill(_enough(one["enough"]), 96 - width), " " * (width + 4)))
        print()
    Console(width=100).print(INFLUENCE_CAPTION if ranged else LAST_LAYER_CAPTION)


def _show_gradients(found: list[dict[str, Any]]) -> None:
    """How alike each sample's gradient is to its kin's, by model, and whose is nearest."""
    groups = tuple(found[0]["similarity"])
    width = max(len(one["target"]) for one in found)
    for key in dict.fromkeys((one["training"], one["stage"]) for one in found):
        lot = [one for one in found if (one["training"], one["stage"]) == key]
        print(textwrap.fill(f"{key[0]} similar samples, {key[1]}: {lot[0]['note']}", 100, subsequent_indent="  "))
        print(f"  {'sample':<{width}}{''.join(f'{group:>9}' for group in groups)}")
        for one in lot:
            cells = [f"{'–' if one['similarity'][group] is None else format(one['similarity'][group], '.2f'):>9}"
                     for group in groups]  # fmt: skip
            print(f"  {one['target']:<{width}}{''.join(cells)}")
            nearest = ", ".join(f"{name} {value:.2f}" for name, value in one["top"])
            print(textwrap.indent(textwrap.fill(nearest, 96 - width), " " * (width + 4)))
        print()


def _enough(few: Mapping[str, Any] | None) -> str:
    """How few of the most similar samples to forget, and what that is expected to leave."""
    if few is None:
        return "how few to forget too cannot be told: too little of the weights is explained without their start"
    taken = few["taken"]
    return (
        f"forget its {len(taken)} most similar too: {', '.join(taken) or 'none'}; expected residual "
        f"{few['residual']:.2f}"
    )


def _part(one: dict[str, Any], part: str) -> str:
    """A part, with its range where it has one."""
    value = f"{one['parts'][part] + 0.0:.2f}"
    if part not in one["ranges"]:
        return f"{value:>{_width(part)}}"
    low, high = (f"{end:.1f}" for end in one["ranges"][part])
    return f"{f'{value} [{low}, {high}]':>20}"


def _width(part: str) -> int:
    return max(8, len(part) + 2)
