"""From an experiment to its answer: the engine's layers put together, for the command line and for Python."""

from ganinfer.runner.calibrating import calibrate
from ganinfer.runner.checking import check
from ganinfer.runner.comparing import simulate_into
from ganinfer.runner.exporting import simulate
from ganinfer.runner.exporting_tables import simulate_tables
from ganinfer.runner.predicting import predict, train
from ganinfer.runner.running import run

__all__ = ["calibrate", "check", "predict", "run", "simulate", "simulate_into", "simulate_tables", "train"]
