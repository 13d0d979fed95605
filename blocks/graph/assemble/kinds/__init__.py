"""The kinds of nodes: blocks and slots, repeats, scans and shared modules."""
