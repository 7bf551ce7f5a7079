"""Benchmarks: what statistics tell, and what computing costs. They compare within one run and one machine."""
