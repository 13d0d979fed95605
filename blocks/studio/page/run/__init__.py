"""The parts of the page about runs: a training, a sweep, a look into a run, the list of runs."""
