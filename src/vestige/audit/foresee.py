"""What to expect before anything is changed. How hard a record is to forget: `vestige difficulty predict`."""

from __future__ import annotations


def outcome(scope: str, kept: int | None, removed: int) -> str:
    """What the scope will and will not achieve, in words. kept: None where nobody could look for similar records."""
    if kept is None:
        return (
            "Similar records were not looked for: there is no training data. What they taught stays in the model, and "
            "the audit cannot tell it from what the records themselves left."
        )
    if not kept:
        return (
            "No similar record stays in training, so the best outcome is a model that never saw anything of the kind."
        )
    stay = f"{kept} similar record{'s stay' if kept > 1 else ' stays'} in training"
    what = "the scope is exact" if scope == "exact" else "their owners keep them"
    return (
        f"{stay} ({what}). Even a perfect method leaves what they teach: expect “still carried by similar records” "
        f"where they are near-copies. {removed} record{'s go' if removed > 1 else ' goes'}."
    )
