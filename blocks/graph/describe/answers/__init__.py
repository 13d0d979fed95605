"""Answers of `python -m blocks`: SARIF, the schemas of its JSON, shapes with letters."""
