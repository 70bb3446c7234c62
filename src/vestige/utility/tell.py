"""The utility of a model at hand, and against another: what the command says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vestige.config import LMConfig, UtilityConfig
from vestige.knowledge import METRICS
from vestige.types import InputError
from vestige.utility.ask import ask, check, check_room
from vestige.utility.compare import Found, measures


def tell(
    source: str, against: str | None, config: UtilityConfig, *, device: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Every measure of utility of a model as a record, with what changed since the other where one is given.

    source, against: language models as `LMConfig.source` names them; the changes are the first's less the second's.
    device: one that is there. Everything else that can be checked is, before a model is loaded. Raises as `check`, and
    as building a model does.
    """
    from vestige import text

    if against == source:
        raise InputError(f"{source} against itself changes nothing; name another model")
    settings = {name: LMConfig(source=name) for name in (source, against) if name is not None}
    check(config)
    for setting in settings.values():
        text.check(setting, device=device, training=False)
        check_room(config, setting)
    found = {name: _asked(setting, config, device, say) for name, setting in settings.items()}
    theirs = found[against] if against is not None else None
    return {
        "model": source,
        "against": against,
        "rows": _rows(found[source], theirs),
        "rows_against": [] if theirs is None else _rows(theirs, None),
        "settings": config.model_dump(mode="json"),
    }


def _asked(setting: LMConfig, config: UtilityConfig, device: str, say: Callable[[str], None]) -> dict[str, Found]:
    import torch

    from vestige import text

    say(f"loading {setting.source}")
    model = text.build(setting, generator=torch.Generator().manual_seed(0)).to(device)
    return ask(model, config, None, say)


def _rows(found: Mapping[str, Found], before: Mapping[str, Found] | None) -> list[dict[str, Any]]:
    return [
        {
            "group": one.group, "metric": one.metric, "mean": one.value, "low": one.low, "high": one.high, "n": one.n,
            "unit": METRICS[one.metric]["unit"],
        }
        for one in measures(found, before, {})
    ]  # fmt: skip
