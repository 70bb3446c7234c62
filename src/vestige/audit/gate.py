"""The gate: a small language of comparisons over the numbers of an audit. Nothing is evaluated by Python.

expression := conjunction ("or" conjunction)*       conjunction := part ("and" part)*
part       := "not" part | "(" expression ")" | term operator term
operator   := == | != | <= | >= | < | >             term := a number | one of NAMES
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vestige.types import InputError

NAMES = {
    "records": "records that were to be forgotten",
    "forgotten": "records with this verdict",
    "carried": "records still carried by similar records",
    "in_model": "records still in the model itself",
    "over_unlearned": "records over-unlearned",
    "cannot_tell": "records of which this cannot be told",
    "still_known": "of these, those that the model still knows, whoever taught them",
    "left": "the largest share left of what a record had added (0: none, 1: all)",
    "utility_drop": "accuracy (of text: recall) on other records, before − after",
    "utility": "the budget for it",
    "near_drop": "accuracy on the records' retained neighbours, before − after",
}
"""What a gate may name."""
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
TOKEN = re.compile(r"\s*(==|!=|<=|>=|<|>|\(|\)|[A-Za-z_]\w*|\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)")
Numbers = Mapping[str, float | None]
Truth = bool | None
"""None: cannot be told."""
Node = Callable[[Numbers], Truth]


@dataclass(frozen=True)
class Outcome:
    """Whether the gate holds, with its exit status: 0 it does, 100 it does not, 4 cannot be told."""

    holds: Truth
    status: int


def parse(text: str) -> Node:
    """The gate as a function of the numbers. Raises InputError for what does not parse, with its place."""
    return _Parser(text).whole()


def judge(text: str, numbers: Numbers) -> Outcome:
    """Whether the gate holds for these numbers, whatever the records are of which the verdict cannot be told.

    Those still known are in the model itself or carried by others, the rest could be anything: where one would pass
    and another not, the gate cannot be told either. A number that is None makes its comparison so.
    """
    node, known = parse(text), int(numbers["still_known"] or 0)
    open_ = int(numbers["cannot_tell"] or 0) - known
    truths = {node(numbers)}
    for kind in ("forgotten", "in_model", "carried", "over_unlearned") if open_ else ("",):
        for other in ("in_model", "carried") if known else ("",):
            told = {**numbers, "cannot_tell": known}
            for name, count in ((kind, open_), (other, known)):
                told |= {name: (told[name] or 0) + count} if name else {}
            truths.add(node(told))
    holds = truths.pop() if len(truths) == 1 else None
    return Outcome(holds, {True: 0, False: 100, None: 4}[holds])


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, int]] = []
        place = 0
        while text[place:].strip():
            match = TOKEN.match(text, place)
            if match is None:
                start = place + len(text[place:]) - len(text[place:].lstrip())
                raise self._wrong(f"found {text[start]!r}", start)
            self.tokens.append((match[1], match.start(1)))
            place = match.end()
        self.at = 0

    def whole(self) -> Node:
        node = self._or()
        if self.at < len(self.tokens):
            token, place = self.tokens[self.at]
            raise self._wrong(f"found {token!r} where the expression could end", place)
        return node

    def _or(self) -> Node:
        node = self._and()
        while self._take("or"):
            node = _either(node, self._and())
        return node

    def _and(self) -> Node:
        node = self._part()
        while self._take("and"):
            node = _both(node, self._part())
        return node

    def _part(self) -> Node:
        if self._take("not"):
            return _negated(self._part())
        if self._take("("):
            node = self._or()
            if not self._take(")"):
                raise self._wrong("a ) is missing", len(self.text))
            return node
        left = self._term()
        sign, place = self._next("a comparison such as ==")
        if sign not in OPERATORS:
            raise self._wrong(f"found {sign!r} where a comparison such as == was expected", place)
        return _compared(left, OPERATORS[sign], self._term())

    def _term(self) -> str | float:
        token, place = self._next("a name or a number")
        if token in NAMES:
            return token
        if re.fullmatch(r"[\d.].*", token):
            return float(token)
        raise self._wrong(f"found {token!r}; the names are {', '.join(NAMES)}", place)

    def _next(self, expected: str) -> tuple[str, int]:
        if self.at == len(self.tokens):
            raise self._wrong(f"it ends where {expected} was expected", len(self.text))
        self.at += 1
        return self.tokens[self.at - 1]

    def _take(self, word: str) -> bool:
        found = self.at < len(self.tokens) and self.tokens[self.at][0] == word
        self.at += found
        return found

    def _wrong(self, what: str, place: int) -> InputError:
        return InputError(
            f"the gate {self.text!r} does not parse: {what}, at character {place + 1}; write comparisons joined by "
            "and, or, not, as: forgotten == records and utility_drop <= 0.02"
        )


def _compared(left: str | float, compare: Callable[[float, float], bool], right: str | float) -> Node:
    def node(numbers: Numbers) -> Truth:
        a, b = (numbers[term] if isinstance(term, str) else term for term in (left, right))
        return None if a is None or b is None else compare(a, b)

    return node


def _both(left: Node, right: Node) -> Node:
    def node(numbers: Numbers) -> Truth:
        found = (left(numbers), right(numbers))
        return False if False in found else None if None in found else True

    return node


def _either(left: Node, right: Node) -> Node:
    def node(numbers: Numbers) -> Truth:
        found = (left(numbers), right(numbers))
        return True if True in found else None if None in found else False

    return node


def _negated(inner: Node) -> Node:
    def node(numbers: Numbers) -> Truth:
        found = inner(numbers)
        return None if found is None else not found

    return node
