"""The numbers of tables: runs -> cells -> mean ± std over seeds, and what they are compared with. Imports no torch."""
