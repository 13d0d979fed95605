"""One run: prepare, build, fit, test, report."""
