"""hype_bench: does this fine-tuning technique really help?"""

__version__ = "0.1.0"
