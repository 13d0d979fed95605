"""A local page in which a model is seen, changed, checked, compared and trained: `python -m blocks
studio`.

The page (`page.py`, on NiceGUI) knows no model. A process of its own answers its questions
(`answers.py`, `engine.py`), and each training is another (`runs.py`), which survives the page.
"""
