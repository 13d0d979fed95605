"""Optimizers: parameter groups, schedules, and those that torch does not have."""
