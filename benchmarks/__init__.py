"""Measurements to run by hand: each prints a table for people, then one JSON line. Ratios within one run count."""
