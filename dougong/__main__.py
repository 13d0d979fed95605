"""`python -m dougong`, and the file by which other processes of a run are started."""

import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if sys.path and sys.path[0] in ("", os.getcwd(), os.path.join(HOME, "dougong")):
    # nothing is imported from the working directory; blocks of the user's own are named by
    # `library`
    sys.path.pop(0)
if HOME not in sys.path:
    sys.path.append(HOME)

if __name__ == "__main__":
    from dougong.main import main

    sys.exit(main())
