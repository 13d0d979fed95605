"""Terms of a loss: each gives one number, the mean over a batch. `task=objective` composes them."""
