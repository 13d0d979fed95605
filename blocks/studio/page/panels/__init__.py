"""The parts of the page that show an answer about the model."""
