"""One start of the program that trains: its command line, its checks, its errors and its status."""

from tasks.session.session import main

__all__ = ["main"]
