"""Exact money: decimals in memory, integer minor units in the database, strings on the wire."""

from decimal import Decimal

ZERO = Decimal(0)

# ISO 4217: the currencies whose minor unit is not a hundredth.
_EXPONENTS = {
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
_QUANTA = {0: Decimal(1), 2: Decimal("0.01"), 3: Decimal("0.001")}

# Twelve digits before the point fit every balance sheet and stay far inside 64 bits of minor units.
LIMIT = Decimal(10) ** 12


def exact(value: Decimal | int | str, currency: str) -> Decimal:
    """The amount at the currency's own precision.

    Raises:
        ValueError: not finite, out of range, or finer than the currency's minor unit.
    """
    amount = value if isinstance(value, Decimal) else Decimal(value)
    if not amount.is_finite() or abs(amount) >= LIMIT:
        raise ValueError(f"amount {value} is not a number this side of {LIMIT:f}")
    quantised = amount.quantize(_QUANTA[_EXPONENTS.get(currency, 2)])
    if quantised != amount:
        raise ValueError(f"amount {value} is finer than the minor unit of {currency}")
    return quantised or abs(quantised)


def to_minor(amount: Decimal, currency: str) -> int:
    """Integer minor units (cents) for the database."""
    return int(amount.scaleb(_EXPONENTS.get(currency, 2)))


def from_minor(minor: int, currency: str) -> Decimal:
    exponent = _EXPONENTS.get(currency, 2)
    return Decimal(minor).scaleb(-exponent).quantize(_QUANTA[exponent])
