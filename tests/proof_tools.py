"""What the tests of the checker of proofs share: certificates of formulas, mutations, arithmetic of their own."""

from __future__ import annotations

import copy
import functools
import json
import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from optbench import check_proof as checker
from optbench.critical.certified import certify
from optbench.critical.second_proof.certificate import write_certificate
from optbench.critical.typed.expression import parse_expression

Box = tuple[tuple[float, float], ...]


def certificate_of(text: str, box: Box, **options: Any) -> dict[str, Any]:
    """The certificate of a formula, as a JSON object."""
    objective = parse_expression(text, len(box))
    found: dict[str, Any] = json.loads(write_certificate(objective, certify(objective, box, name=text), **options).text)
    return found


def signed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the digest of its content."""
    return {**document, "digest": checker.digest_of(document)}


def verdict_of(document: dict[str, Any]) -> str:
    """ "accepted", or what the checker says."""
    try:
        checker.check(checker.load(json.dumps(document).encode()))
    except (checker.Refused, checker.Unreadable) as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def numbers_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all numbers of a certificate: whole ones, and hexadecimal text."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from numbers_in(part, (*path, key))
    elif isinstance(value, list):
        for key, part in enumerate(value):
            yield from numbers_in(part, (*path, key))
    elif (type(value) is int) or (isinstance(value, str) and checker.NUMBER.fullmatch(value)):
        yield path


def mutated(document: dict[str, Any], path: tuple[Any, ...], rng: random.Random) -> dict[str, Any]:
    """The document with the number at this path changed: its sign, its last digit, its size, another number."""
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    while place[path[-1]] == old or (type(old) is str and number(place[path[-1]]) == number(old)):
        place[path[-1]] = _whole(old, rng) if type(old) is int else _text(number(old), rng)
    return changed


def _whole(old: int, rng: random.Random) -> int:
    return rng.choice([old + 1, old - 1, -old, 2 * old, 0, rng.randrange(10)])


def _text(old: Fraction, rng: random.Random) -> str:
    step = abs(old) / 2 ** rng.choice([1, 4, 10, 30, 52]) or Fraction(1, 2**10)
    new = rng.choice([old + step, old - step, -old, 2 * old, Fraction(rng.randrange(-4, 5)), old + Fraction(1, 2**60)])
    return hexadecimal(new)


def hexadecimal(value: Fraction) -> str:
    """A dyadic number as certificates write them."""
    zeros = value.denominator.bit_length() - 1
    return f"{'-' if value < 0 else ''}0x{abs(value.numerator):x}p-{zeros}"


def number(text: str) -> Fraction:
    """A hexadecimal number, exactly: float.fromhex would round."""
    mantissa, _, exponent = text.partition("p")
    sign = -1 if mantissa.startswith("-") else 1
    whole, _, fraction = mantissa.removeprefix("-").removeprefix("0x").partition(".")
    return sign * Fraction(int(whole + fraction, 16), 16 ** len(fraction)) * Fraction(2) ** int(exponent)


class Polynomial:
    """The polynomial that a certificate's steps define, with derivatives; on numbers of any kind, also arrays.

    The test's own reading of the steps, by their description in `recorded.Step`.
    """

    def __init__(self, program: dict[str, Any]) -> None:
        self.dim, self.steps, self.result = program["dim"], program["steps"], program["result"]

    def jet(self, x: list[Any], convert: Any = Fraction) -> tuple[Any, list[Any], list[list[Any]]]:
        """Value, gradient and Hessian at x."""
        d, jets = self.dim, []
        for op, args, text in self.steps:
            c = None if text is None else convert(number(text))
            zeros = [[0] * d for _ in range(d)]
            if op == "x":
                i = int(number(text))
                jets.append((x[i], [int(j == i) for j in range(d)], zeros))
            elif op == "constant":
                jets.append((c, [0] * d, zeros))
            elif op == "plus":
                a, b = (jets[i] for i in args)
                jets.append(self._combined(a, b, 1, 1, lambda p, q: p + q))
            elif op in ("shift", "scale", "over"):
                a = jets[args[0]]
                factor = {"shift": 1, "scale": c, "over": 1 / c if op == "over" else 0}[op]
                value = a[0] + c if op == "shift" else a[0] * factor
                jets.append((value, [g * factor for g in a[1]], [[h * factor for h in row] for row in a[2]]))
            elif op in ("times", "square"):
                a, b = (jets[args[0]], jets[args[-1]])
                jets.append(self._product(a, b))
            elif op == "power":
                jets.append(self._power(jets[args[0]], int(number(text))))
            else:
                raise AssertionError(op)
        found: tuple[Any, list[Any], list[list[Any]]] = jets[self.result]
        return found

    def _combined(self, a: Any, b: Any, p: Any, q: Any, value: Any) -> Any:
        grad = [p * g + q * h for g, h in zip(a[1], b[1], strict=True)]
        hess = [[p * g + q * h for g, h in zip(r, s, strict=True)] for r, s in zip(a[2], b[2], strict=True)]
        return value(a[0], b[0]), grad, hess

    def _product(self, a: Any, b: Any) -> Any:
        value, grad, hess = self._combined(a, b, b[0], a[0], lambda p, q: p * q)
        for i in range(self.dim):
            for j in range(self.dim):
                hess[i][j] = hess[i][j] + a[1][i] * b[1][j] + a[1][j] * b[1][i]
        return value, grad, hess

    def _power(self, a: Any, n: int) -> Any:
        found = a
        for _ in range(n - 1):
            found = self._product(found, a)
        return found


@functools.cache
def newton_zeros(program: str, low: tuple[float, ...], high: tuple[float, ...], starts: int = 25) -> np.ndarray:
    """Zeros of the gradient that Newton's method in floating point finds from a grid of starts, (n, d)."""
    function = Polynomial(json.loads(program))
    axes = [np.linspace(a - 0.1 * (b - a), b + 0.1 * (b - a), starts) for a, b in zip(low, high, strict=True)]
    x = np.stack([axis.ravel() for axis in np.meshgrid(*axes)])
    d = len(low)
    with np.errstate(all="ignore"):
        for _ in range(30):
            _, grad, hess = function.jet(list(x), float)
            g = np.stack([np.broadcast_to(v, x.shape[1:]) for v in grad], axis=-1)
            h = np.stack([np.stack([np.broadcast_to(v, x.shape[1:]) for v in row], axis=-1) for row in hess], axis=-2)
            good = np.isfinite(h).all(axis=(1, 2)) & np.isfinite(g).all(axis=1)
            h = np.where(good[:, None, None], h, np.eye(d)) + 1e-300 * np.eye(d)
            step = (np.linalg.pinv(h) @ np.where(good[:, None], g, 0.0)[..., None])[..., 0]
            x = x - step.T
        good &= np.abs(step).max(axis=1) < 1e-9 * (1.0 + np.abs(x).max(axis=0))
    x = x[:, good].T
    found: list[np.ndarray] = []
    for point in x:
        if not any(np.abs(point - other).max() < 1e-6 for other in found):
            found.append(point)
    return np.array(found).reshape(-1, d)
