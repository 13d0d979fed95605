"""Side by side with the peers: the same work in one process, interleaved, told as ratios.

`python -m bench --help`.
"""
