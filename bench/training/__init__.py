"""Training steps, estimated and measured, and the loop around them."""
