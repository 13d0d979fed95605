"""Two models beside each other, the variants of a model, and its code beside its graph."""
