"""What `python -m blocks` answers to programs: SARIF, and the schemas of its JSON."""
