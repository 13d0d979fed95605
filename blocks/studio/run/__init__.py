"""Trainings and sweeps that are started from the page, and the runs of the project."""
