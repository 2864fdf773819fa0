"""Outcomes from logs and evaluations that are there already: one module a format."""
