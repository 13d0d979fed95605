"""What callbacks measured over the training: gradients and updates of nodes, routers of experts."""
