"""The harness behind docs/trust.md: one command a figure."""
