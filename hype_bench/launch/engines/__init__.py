"""Sweeps whose jobs run side by side, with the launchers that Hydra has for joblib, Ray and submitit.

``conf/hydra/launcher`` names the engines and their options, ``hydra_plugins/hype_bench_engines.py`` makes Hydra find
them, docs/engines.md is their page. A worker leaves what any run leaves: a folder of its own and a note in the sweep's.
From those notes alone the process that started the sweep shows how its jobs go, whichever machine they run on.
"""
