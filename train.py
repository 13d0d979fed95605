"""Train a model: compose the YAML, build, train, test, and write the run folder.

python train.py                                   the default model on the default data
python train.py model=vit model.params.depth=4    another depth
python train.py -m model.params.depth=2,4 seed=1,2,3
python train.py --help
"""

from tasks.session import main

if __name__ == "__main__":
    main()
