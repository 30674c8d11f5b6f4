"""Tools for tm: every public function of this file is one.

What a model is shown comes from what is written here anyway: the types say what may be given, the
docstring says what a tool does and returns, and a parameter with a default is optional. The functions run in
a sandbox. What they raise, a LookupError or a ValueError with a sentence, is told to the model.
"""

from typing import Any, Literal

_PRICES = {"lamp": 12.5, "bell": 4.2, "saddle": 31.0, "pump": 17.9}
_RATES = {"eur": 1.0, "usd": 1.12, "chf": 0.94}


def list_parts() -> dict[str, Any]:
    """List the spare parts that the shop sells.

    Returns:
        parts
    """
    return {"parts": sorted(_PRICES)}


def get_price(part: str, currency: Literal["eur", "usd", "chf"] = "eur") -> dict[str, Any]:
    """Look up what a spare part costs.

    Args:
        part: Its name, as the shop lists it.
        currency: In which currency to answer.

    Returns:
        price, currency
    """
    if part not in _PRICES:
        raise LookupError(f"no part {part!r}")
    return {"price": round(_PRICES[part] * _RATES[currency], 2), "currency": currency}
