"""Fine-tune one encoder on one task with one or more techniques, or sweep over any of them.

python run.py                                              one run of the default
python run.py method=hype_n task=rte -m seed=1,2,3         three seeds, then the table
python run.py --help                                       what can be chosen
"""

from hype_bench.launch.main import main

if __name__ == "__main__":
    main()
