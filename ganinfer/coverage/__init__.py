"""How often intervals hold the truth, and how often the verdict is a false alarm: found on data sets like the real one.

Truths are drawn around a run's solution, or from the prior; data sets are simulated under them in the places of the
real windows. Those around the solution are inferred with the run's own simulations, by one more step of its generator.
"""

from ganinfer.coverage.bootstrap import DataSet, data_sets
from ganinfer.coverage.shared import inferred, seen_by

__all__ = ["DataSet", "data_sets", "inferred", "seen_by"]
