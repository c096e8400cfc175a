"""What a run is: identity, record on disk, status. Imports no torch."""
