"""Generators: the proposal distribution over parameters and the rules that move it."""
