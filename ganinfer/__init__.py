"""Demographic inference from genomes by simulation and a trained discriminator."""

__version__ = "0.1.0"
