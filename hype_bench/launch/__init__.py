"""Everything that is Hydra's: the command line, composition, jobs of sweeps and their engines."""
