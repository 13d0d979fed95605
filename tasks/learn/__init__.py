"""Tasks as LightningModules: losses, metrics, optimizers."""
