"""Zeros, or nearly; and whether a map of zeros can ever leave zero, by what stands behind it."""

from exnihilo.schemes import Normal, Scheme, Zeros, activation_from_text


def nearly_zero(epsilon: float) -> Scheme:
    """Zeros, or where all is to move at the first step, a normal draw of that small standard deviation.

    Example:
        >>> nearly_zero(0.0), nearly_zero(1e-4)
        (Zeros(), Normal(std=0.0001, mean=0.0))
    """
    return Normal(std=epsilon) if epsilon else Zeros()


def why_dead_behind(activation: str | None) -> str | None:
    """Why zeros before an activation never receive a gradient, in words that follow "it"; None where they do.

    Example:
        >>> why_dead_behind("relu")
        'ends in relu, whose gradient at 0 is 0: it would stay zero for ever'
        >>> why_dead_behind("tanh") is None
        True
    """
    if activation is None or activation == "linear":
        return None
    known = activation_from_text(activation)
    if known is None:
        return None if activation == "softmax" else f"ends in {activation}, whose gradient at 0 is not known"
    if known.slope_at_zero == 0.0:
        return f"ends in {activation}, whose gradient at 0 is 0: it would stay zero for ever"
    return None


def why_not_zero_behind(activation: str | None) -> str | None:
    """Why zeros before an activation do not make what is behind it zero, or never change; None where they do both.

    Example:
        >>> why_not_zero_behind("sigmoid")
        'ends in sigmoid, which is 0.5 at 0'
    """
    if activation is None:
        return None
    if activation == "softmax":
        return "ends in softmax, which is never 0"
    known = activation_from_text(activation)
    at_zero = known.value_at_zero if known is not None else 0.0
    return f"ends in {activation}, which is {at_zero:.4g} at 0" if at_zero else why_dead_behind(activation)
