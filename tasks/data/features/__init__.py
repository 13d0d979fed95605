"""Tables whose columns are features: numbers and categories become tensors."""
