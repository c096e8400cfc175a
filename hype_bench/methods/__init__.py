"""How an encoder is regularised: one file per technique."""
