"""The record of a built graph: modules, shapes, edges, arguments and where each came from."""
