"""An interval, such as a confidence interval."""

# Lower and upper bound.
Interval = tuple[float, float]
