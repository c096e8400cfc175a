"""Records -> cells -> mean ± std; rendered as text, Markdown, LaTeX or CSV. Imports no torch."""
