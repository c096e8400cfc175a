"""The loop and its parts: seeds, device, tokens, batches, optimizer, evaluation."""
