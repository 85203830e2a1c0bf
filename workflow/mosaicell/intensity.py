"""The global intensity histogram of a channel, and the normalisation that follows from it.

Idea: brightness is brought to [0, 1] by two constants per channel and sample, taken from the
histogram of the *whole* channel. A constant taken from a tile would make the result depend on
the tiling.

Values fall into bins whose order is the order of the values, so histograms of parts of an image
are added up in one pass without knowing its range: integers of up to 16 bits have a bin per value;
wider integers and floats are binned by the upper 20 bits of their float32 form, which makes a bin
at most 1/2048 as wide as its values are large.

Limits: a float value beyond the range of float32 is refused, as are NaN and infinity.
"""

import math

import numpy as np

FLOAT_BITS = 20  # sign, exponent, and 11 bits of the mantissa
LOW_QUANTILE, HIGH_QUANTILE = 0.01, 0.998
BRIGHTEST = 1.5  # of normalised values
PER_MILLE = 1000  # a channel's percentiles are known in steps of 0.1


def _is_exact(dtype: np.dtype) -> bool:
    return dtype.kind in "uib" and dtype.itemsize <= 2


def n_bins(dtype: np.dtype) -> int:
    """Number of bins in the histogram of a channel of this dtype."""
    return 2**16 if _is_exact(np.dtype(dtype)) else 2**FLOAT_BITS


def _bins(values: np.ndarray) -> np.ndarray:
    """Bin of each value: ascending with the value."""
    if _is_exact(values.dtype):
        return values.astype(np.int32).ravel() + (32768 if values.dtype.kind == "i" else 0)
    with np.errstate(over="ignore"):
        as_float = values.astype(np.float32).ravel()
    if not np.isfinite(as_float).all():
        raise ValueError(
            "the image holds NaN, infinite or too large values (beyond float32); "
            "allowed are finite numbers: replace them before the image is ingested"
        )
    bits = (as_float + np.float32(0)).view(np.uint32)  # + 0 turns -0.0 into 0.0
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (ordered >> (32 - FLOAT_BITS)).astype(np.int32)


def histogram(values: np.ndarray) -> np.ndarray:
    """Count the values of (a part of) one channel.

    Parameters
    ----------
    values : ndarray of any shape and any integer or floating dtype

    Returns
    -------
    ndarray of int64, (n_bins,)
        Histograms of parts of an image may be added.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    values = np.asarray(values)
    return np.bincount(_bins(values), minlength=n_bins(values.dtype))


def _value_of_bin(bin_index: int, dtype: np.dtype) -> float:
    """The lowest value that falls into a bin."""
    if _is_exact(dtype):
        return float(bin_index - (32768 if dtype.kind == "i" else 0))
    ordered = np.uint32(bin_index << (32 - FLOAT_BITS))
    bits = ordered ^ np.uint32(1 << 31) if ordered >> 31 else ~ordered
    return float(np.uint32(bits).view(np.float32))


def quantile(counts: np.ndarray, dtype: np.dtype, q: float) -> float:
    """The value below or at which a share `q` (0..1) of the counted values lies."""
    cumulated = np.cumsum(counts)
    rank = min(int(q * cumulated[-1]), int(cumulated[-1]) - 1)
    return _value_of_bin(int(np.searchsorted(cumulated, rank, side="right")), np.dtype(dtype))


def limits(counts: np.ndarray, dtype: np.dtype) -> tuple[float, float]:
    """The two constants that normalise a channel: its 1 % and 99.8 % quantiles.

    A constant channel gets limits one apart, so that it becomes 0 (to the width of a bin).
    """
    low = quantile(counts, dtype, LOW_QUANTILE)
    high = quantile(counts, dtype, HIGH_QUANTILE)
    return (low, high) if high > low else (low, low + 1.0)


def statistics(counts: np.ndarray, dtype: np.dtype) -> dict:
    """What other normalisations than `limits` need to know of a channel.

    Parameters
    ----------
    counts : ndarray of int64, (n_bins,)
        Of the whole channel.
    dtype : dtype

    Returns
    -------
    dict
        `mean`, `deviation` (the standard one) and `percentiles`, from 0 to 100 in steps of 0.1; of
        a dtype that is binned, to the width of a bin.
    """
    filled = np.flatnonzero(counts)
    values = np.array([_value_of_bin(int(i), np.dtype(dtype)) for i in filled])
    weights = counts[filled]
    mean = float((weights * values).sum() / weights.sum())
    variance = float((weights * (values - mean) ** 2).sum() / weights.sum())
    ends = np.cumsum(weights)
    ranks = np.minimum(np.arange(PER_MILLE + 1) * int(ends[-1]) // PER_MILLE, ends[-1] - 1)
    percentiles = values[np.searchsorted(ends, ranks, side="right")]
    return {"mean": mean, "deviation": variance**0.5, "percentiles": percentiles.tolist()}


def normalise(
    values: np.ndarray, low: float, high: float, clip: tuple[float, float] = (0.0, BRIGHTEST)
) -> np.ndarray:
    """Bring `low` to 0 and `high` to 1 and cut what then lies outside of `clip`.

    Parameters
    ----------
    values : ndarray of any shape
    low, high : float
        Of the whole channel, see `limits`.
    clip : tuple of float, optional
        Least and greatest value.

    Returns
    -------
    ndarray of float32, same shape
    """
    scaled = (values.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return np.clip(scaled, *clip, out=scaled)


def limits_and_clip(
    known: dict, wanted: dict | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """What `normalise` is given for a channel.

    Parameters
    ----------
    known : dict
        Of the whole channel: `limits`, and what `statistics` gave.
    wanted : dict or None
        Which intensities are brought to the two values `becomes`, and the bounds `clip` (either
        or both may be None) of the result; `by` is one of

        - `limits`: the channel's limits,
        - `percentiles`: the percentiles `low` and `high`,
        - `mean_and_deviation`: the mean, and one standard deviation above it,
        - `fixed`: the intensities `low` and `high`, in any image.

        None takes the limits to 0 and 1, as our own networks want it.

    Returns
    -------
    limits, clip : tuple of float
        A constant channel gets limits one apart.
    """
    if wanted is None:
        return tuple(known["limits"]), (0.0, BRIGHTEST)
    if wanted["by"] == "limits":
        low, high = known["limits"]
    elif wanted["by"] == "percentiles":
        low, high = (
            known["percentiles"][round(wanted[end] * PER_MILLE / 100)] for end in ("low", "high")
        )
    elif wanted["by"] == "mean_and_deviation":
        low, high = known["mean"], known["mean"] + known["deviation"]
    else:
        low, high = wanted["low"], wanted["high"]
    if high <= low:
        high = low + 1.0
    first, second = wanted["becomes"]
    step = (high - low) / (second - first)
    ends = (low - first * step, high + (1 - second) * step)
    least, greatest = wanted["clip"] or (None, None)
    return ends, (
        -math.inf if least is None else least,
        math.inf if greatest is None else greatest,
    )
