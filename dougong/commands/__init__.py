"""Commands of `dougong` that neither `python -m blocks` nor `python -m tasks` has.

A file each, with `add_arguments(parser)` and `run(arguments) -> exit status`.
"""
