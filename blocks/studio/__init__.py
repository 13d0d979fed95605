"""A local page in which a model is seen, changed, checked, compared and trained: `python -m blocks
studio`.

The page (`page`, on NiceGUI) knows no model, and `text` changes that of a model file. A process of
its own answers the questions of the page (`answers.py`, `engine.py`), and each training is another
(`runs.py`), which survives the page.
"""
