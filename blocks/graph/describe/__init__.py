"""The record -> tables, costs, differences, drawings, schemas, plain PyTorch."""
