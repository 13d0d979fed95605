"""`dougong mcp`: the commands as tools of the Model Context Protocol, for one project folder.

The process that speaks the protocol (`server.py`) imports neither torch nor Hydra. One process
answers questions and is replaced when it takes too long (`questions.py`, `answers.py`); each
training is a process of its own (`training.py`). Both are confined to the project
(`blocks/support/files.py`).
"""
